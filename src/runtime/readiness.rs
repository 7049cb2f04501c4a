//! Whether the server accepts work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// A shared flag; clones share it. A new one is not ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Marks the server ready or not ready.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Relaxed);
    }

    /// Whether the server is ready.
    pub fn is_ready(&self) -> bool {
        self.0.load(Relaxed)
    }
}
