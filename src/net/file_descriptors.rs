//! File descriptors, each of which is a connection that the process can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept from gRPC's connections for everything else: HTTP, so that probes and
/// scrapers still get in, the listeners, the runtime; and what the Kubernetes API
/// may take. Where there are few, a quarter.
const RESERVE: u64 = 300;

/// Raises the process' own limit to what it may be, as a server with many
/// connections needs and shells seldom give, and returns how many connections
/// that is room for beside so many others.
pub fn room_for_connections(others: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, ..limit };
    // If it can't be raised the old limit holds, and is counted with.
    let _raised = setrlimit(Resource::Nofile, most);
    room(getrlimit(Resource::Nofile).current, others)
}

/// None is no limit.
fn room(descriptors: Option<u64>, others: usize) -> usize {
    let reserve = u64::try_from(others).unwrap_or(u64::MAX).saturating_add(RESERVE);
    let room = descriptors.map_or(u64::MAX, |most| most - reserve.min(most / 4));
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_kept_for_everything_else() {
        assert_eq!(room(Some(20_000), 0), 19_700);
        assert_eq!(room(Some(20_000), 700), 19_000);
        assert_eq!(room(Some(64), usize::MAX), 48);
        assert_eq!(room(None, 0), usize::MAX);
        assert!(room_for_connections(0) > 0);
    }
}
