//! Messages that an unmodified Envoy 1.40.0 sent, with two inbounds and the admin interface to check.

/// The first message: 61 kB, with a list of 516 extensions.
pub(crate) const FIRST: &[u8] = include_bytes!("../../fuzz/corpus/envoy_node/real-envoy-1.40.0");

/// A report with all three healthy.
pub(crate) const REPORT: &[u8] = include_bytes!("report-1.40.0");
