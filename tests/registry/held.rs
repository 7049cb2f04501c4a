//! A session whose end can't hide why a test failed.

use std::{
    mem,
    ops::{Deref, DerefMut},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
};

use headcount::registry::{Notice, Session};

/// A session. While a failed test unwinds, it is forgotten: its disconnect
/// could trip over the same bug, and a second panic aborts without a word.
#[derive(Debug)]
pub(crate) struct Held(Option<Session>);

impl Held {
    pub(crate) fn new(session: Session) -> Self {
        Self(Some(session))
    }

    /// Whether it was told that a newer session has taken over.
    pub(crate) fn is_superseded(&self) -> bool {
        let noticed = pin!(self.notice()).poll(&mut Context::from_waker(Waker::noop()));
        noticed == Poll::Ready(Notice::Superseded)
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

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Session {
        self.0.as_mut().expect("held until it ends")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if thread::panicking() {
            mem::forget(self.0.take());
        }
    }
}
