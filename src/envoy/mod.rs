//! Envoy's desk: an unmodified Envoy is a dataplane proxy by its Health
//! Discovery Service.
//!
//! [`node`] reads who it is, [`checks`] writes what it is asked to check, and
//! [`fold`] reads what it has found out. They wait for nothing and know no
//! stream.

pub mod checks;
pub mod fold;
mod metadata;
pub mod node;
