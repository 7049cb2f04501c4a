//! The limit of open file descriptors, which bounds the number of connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors kept for everything but gRPC and Kubernetes connections: the HTTP
/// listener's connections (so that probes and scrapes still work), the listeners and the
/// runtime. With a low limit, a quarter of it is kept.
const RESERVED: u64 = 300;

/// Raises the process' limit of open files (`RLIMIT_NOFILE`) to its hard limit, and
/// returns how many gRPC connections that allows next to `other_connections`.
pub fn connection_capacity(other_connections: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // If the limit can't be raised, the capacity follows from the old one.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    capacity(getrlimit(Resource::Nofile).current, other_connections)
}

/// `descriptors` is `None` if the number is not limited.
fn capacity(descriptors: Option<u64>, other_connections: usize) -> usize {
    let reserved = u64::try_from(other_connections).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let capacity = descriptors.map_or(u64::MAX, |limit| limit - reserved.min(limit / 4));
    usize::try_from(capacity).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_but_at_most_a_quarter() {
        assert_eq!(capacity(Some(20_000), 0), 19_700);
        assert_eq!(capacity(Some(20_000), 700), 19_000);
        assert_eq!(capacity(Some(64), usize::MAX), 48);
        assert_eq!(capacity(None, 0), usize::MAX);
        assert!(connection_capacity(0) > 0);
    }
}
