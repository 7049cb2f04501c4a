//! Why a client can't connect.

use std::{error::Error, io, sync::Arc};

use parking_lot::Mutex;

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

/// Why the newest connection of a channel failed, until another one works. A call on a connection that has
/// failed may only get to know that it is closed.
#[derive(Debug, Clone, Default)]
pub(super) struct LastProblem(Arc<Mutex<Option<ConnectProblem>>>);

impl LastProblem {
    pub(super) fn get(&self) -> Option<ConnectProblem> {
        self.0.lock().clone()
    }

    pub(super) fn set(&self, problem: Option<ConnectProblem>) {
        *self.0.lock() = problem;
    }
}

/// An error and its causes; the root cause is last.
pub(crate) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
