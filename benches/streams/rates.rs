//! How fast a server does something, and what it costs.

/// The rates of one round.
pub(crate) struct Rates {
    pub(crate) per_second: f64,
    /// The server's processor time for each, in microseconds.
    pub(crate) spent: f64,
}
