//! Records panics: tokio catches a panic of a spawned task, so without this a simulation would go
//! on as if nothing had happened.

use std::{cell::RefCell, panic, sync::Once};

static HOOK_INSTALLED: Once = Once::new();

thread_local! {
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Starts to record the panics of this thread, which runs one simulation at a time.
pub fn record() {
    HOOK_INSTALLED.call_once(|| {
        let default_hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            FIRST.with_borrow_mut(|first| {
                first.get_or_insert_with(|| info.to_string());
            });
            default_hook(info);
        }));
    });
    FIRST.take();
}

/// Returns the first panic of this thread since [`record`].
pub fn first() -> Option<String> {
    FIRST.with_borrow(Clone::clone)
}
