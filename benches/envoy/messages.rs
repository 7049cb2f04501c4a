//! What Envoy 1.40.0 really sent: an unmodified one, with two inbounds and its
//! admin interface to check.

/// Its first message, 61 kB with a list of 516 extensions.
pub(crate) const FIRST: &[u8] = include_bytes!("../../fuzz/corpus/envoy_node/real-envoy-1.40.0");

/// Its report when all three were healthy.
pub(crate) const REPORT: &[u8] = include_bytes!("report-1.40.0");
