//! The network by itself.
