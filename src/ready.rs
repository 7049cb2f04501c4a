//! Whether the server takes work: it is said once, and told by both HTTP addresses.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// See the module's documentation. Not until somebody says so.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Says so.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Relaxed);
    }

    /// Whether it was said.
    pub fn is(&self) -> bool {
        self.0.load(Relaxed)
    }
}
