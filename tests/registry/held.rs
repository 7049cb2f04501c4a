//! A session whose end can't hide why a test failed.

use std::{
    mem,
    ops::Deref,
    pin::pin,
    task::{Context, Waker},
    thread,
};

use headcount::registry::Session;

/// A session. While a failed test unwinds, it is forgotten: its disconnect
/// could trip over the same bug, and a second panic aborts without a word.
#[derive(Debug)]
pub(crate) struct Held(Option<Session>);

impl Held {
    pub(crate) fn new(session: Session) -> Self {
        Self(Some(session))
    }

    /// Whether it was told that a newer session has taken over. Asked once: the
    /// answer is used up.
    pub(crate) fn is_superseded(&self) -> bool {
        pin!(self.superseded()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    pub(crate) fn cut(mut self) {
        drop(self.0.take());
    }

    pub(crate) fn goodbye(mut self) {
        if let Some(session) = self.0.take() {
            session.goodbye();
        }
    }
}

impl Deref for Held {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0.as_ref().expect("held until it ends")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if thread::panicking() {
            mem::forget(self.0.take());
        }
    }
}
