//! Which attempt of which agent a session is.

/// An agent's attempt to open a session. Of those of one agent it is known which
/// came first, in whatever order a network delivers them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Chosen at random by each process; 0 if it does not say.
    pub instance: u64,
    /// Counts its attempts.
    pub number: u32,
}

impl Attempt {
    /// Whether the same agent made it, and made it before another one.
    pub fn is_before(self, other: Self) -> bool {
        self.instance != 0 && self.instance == other.instance && self.number < other.number
    }

    /// The next one of the same agent.
    #[must_use]
    pub fn next(self) -> Self {
        Self { number: self.number.saturating_add(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attempts_of_one_agent_have_an_order() {
        let first = Attempt { instance: 7, number: 1 };
        assert!(first.is_before(first.next()));
        assert!(!first.next().is_before(first) && !first.is_before(first));
        let other = Attempt { instance: 8, number: 9 };
        assert!(!first.is_before(other) && !other.is_before(first));
        let silent = Attempt::default();
        assert!(!silent.is_before(silent.next()) && !first.is_before(silent));
    }
}
