//! Connections that were not let in.

use prometheus::{IntCounterVec, Opts};

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many as may be are open.
    Full,
    /// Its first bytes are not HTTP/2's, or it ended before them.
    NoHttp2,
    /// Its first bytes did not come in time.
    Late,
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoHttp2 => "no-http2",
            Self::Late => "late",
        }
    }

    const ALL: [Self; 3] = [Self::Full, Self::NoHttp2, Self::Late];
}

/// gRPC's connections. Each is counted, while the log sums up a storm.
#[derive(Debug, Clone)]
pub struct ConnectionMetrics {
    pub(super) refused: IntCounterVec,
}

impl ConnectionMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let refused = Opts::new(
            "headcount_connections_refused_total",
            "gRPC connections that were not let in, by reason: full, no-http2, late.",
        );
        let refused = IntCounterVec::new(refused, &["reason"])?;
        // A series that begins with its first event has no rate for it.
        for reason in Refusal::ALL {
            refused.with_label_values(&[reason.as_str()]);
        }
        Ok(Self { refused })
    }

    /// One was not let in.
    pub fn refused(&self, reason: Refusal) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }
}
