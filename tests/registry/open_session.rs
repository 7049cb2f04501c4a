//! A session that does not hide a failure while a test unwinds.

use std::{
    mem,
    ops::{Deref, DerefMut},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
};

use headcount::registry::{Notice, Session};

/// An open session. If the thread panics it is forgotten instead of dropped: its disconnect could
/// panic for the same bug, and a second panic aborts the process without a message.
#[derive(Debug)]
pub(crate) struct OpenSession(Option<Session>);

impl OpenSession {
    pub(crate) fn new(session: Session) -> Self {
        Self(Some(session))
    }

    /// The latest notice; none if there was none.
    pub(crate) fn latest_notice(&self) -> Option<Notice> {
        match pin!(self.notice()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(notice) => Some(notice),
            Poll::Pending => None,
        }
    }

    /// Whether it was notified that a newer session has taken over.
    pub(crate) fn is_superseded(&self) -> bool {
        self.latest_notice() == Some(Notice::Superseded)
    }

    /// Ends it without a goodbye.
    pub(crate) fn disconnect(mut self) {
        drop(self.0.take());
    }

    pub(crate) fn goodbye(mut self) {
        if let Some(session) = self.0.take() {
            session.goodbye();
        }
    }
}

impl Deref for OpenSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0.as_ref().expect("open until it is consumed")
    }
}

impl DerefMut for OpenSession {
    fn deref_mut(&mut self) -> &mut Session {
        self.0.as_mut().expect("open until it is consumed")
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        if thread::panicking() {
            mem::forget(self.0.take());
        }
    }
}
