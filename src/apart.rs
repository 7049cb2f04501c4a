//! What takes milliseconds must not keep others waiting.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Looks at all Workloads. With 10,000 of them that takes some milliseconds, for
/// which another thread takes over what waits for this one.
pub(crate) fn apart<T>(look: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(look),
        // There is no other thread, as in a simulation.
        _ => look(),
    }
}
