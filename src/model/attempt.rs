//! Numbered attempts of agents to open a session.

/// An agent's attempt to open a session. Attempts of one agent are ordered, so that the server
/// can reject a stale one that the network delivers late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// A random number of the agent's process; 0 if unknown.
    pub instance: u64,
    /// Number of the attempt within the process.
    pub number: u32,
}

impl Attempt {
    /// Whether this attempt and `other` are of the same process, and this one is earlier.
    pub fn is_before(self, other: Self) -> bool {
        self.instance != 0 && self.instance == other.instance && self.number < other.number
    }

    /// Returns the next attempt of the same process.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attempts_of_one_process_are_ordered() {
        let first = Attempt { instance: 7, number: 1 };
        assert!(first.is_before(first.next()));
        assert!(!first.next().is_before(first) && !first.is_before(first));
        let other = Attempt { instance: 8, number: 9 };
        assert!(!first.is_before(other) && !other.is_before(first));
        let unknown = Attempt::default();
        assert!(!unknown.is_before(unknown.next()) && !first.is_before(unknown));
    }
}
