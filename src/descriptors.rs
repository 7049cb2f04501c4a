//! File descriptors, each of which is a connection that the process can hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept from gRPC's connections for everything else: HTTP, so that probes and
/// scrapers still get in, the listeners, the runtime. Where there are few, a
/// quarter.
const RESERVE: u64 = 300;

/// Raises the process' own limit to what it may be, as a server with many
/// connections needs and shells seldom give, and returns how many connections
/// that is room for.
pub fn room_for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, ..limit };
    // If it can't be raised the old limit holds, and is counted with.
    let _raised = setrlimit(Resource::Nofile, most);
    room(getrlimit(Resource::Nofile).current)
}

/// None is no limit.
fn room(descriptors: Option<u64>) -> usize {
    let room = descriptors.map_or(u64::MAX, |most| most - RESERVE.min(most / 4));
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_kept_for_everything_else() {
        assert_eq!(room(Some(20_000)), 19_700);
        assert_eq!(room(Some(64)), 48);
        assert_eq!(room(None), usize::MAX);
        assert!(room_for_connections() > 0);
    }
}
