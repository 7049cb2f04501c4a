//! A panic in a task ends that task alone, and its runtime goes on as if
//! nothing had been. Here it fails the simulation of its thread.

use std::{cell::RefCell, panic, sync::Once};

static INSTALLED: Once = Once::new();

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on, panics of this thread are noted.
pub fn watch() {
    INSTALLED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
            usual(info);
        }));
    });
    FIRST.take();
}

/// The first panic since.
pub fn first() -> Option<String> {
    FIRST.with_borrow(Clone::clone)
}
