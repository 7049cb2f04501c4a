//! Why a client can't connect.

use std::{error::Error, io};

/// Why a connection can't be made or used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {remedy}")]
pub struct ConnectProblem {
    /// What is wrong, such as `the server's certificate has expired`.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl ConnectProblem {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { problem: problem.into(), remedy: remedy.into() }
    }

    /// Finds the problem among the causes of an error of tonic.
    pub fn of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        causes(error).find_map(|cause| {
            let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause.downcast_ref().or_else(|| inner?.downcast_ref())
        })
    }
}

impl From<ConnectProblem> for io::Error {
    fn from(problem: ConnectProblem) -> Self {
        Self::new(io::ErrorKind::InvalidData, problem)
    }
}

/// An error and its causes; the root cause is last.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
