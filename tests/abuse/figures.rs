//! What the kernel says about a process.

use std::{fs, time::Duration};

use crate::support::{Server, retry};

/// Of `USER_HZ`, which is 100 on every Linux: 10 ms.
const TICK: Duration = Duration::from_millis(10);
/// A server with a few idle clients burns next to nothing; that much is quiet.
const QUIET: f64 = 0.1;
/// Over which a process is looked at.
const WHILE: Duration = Duration::from_millis(500);

/// Resident memory of a server, in KiB.
pub(crate) fn memory(server: &Server) -> u64 {
    let status = read(server, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Its open descriptors.
pub(crate) fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.program.id())).expect("a process that runs").count()
}

/// Waits until a server is quiet.
pub(crate) async fn quiet(server: &Server) {
    retry("the server is quiet", async || {
        let before = cpu(server);
        tokio::time::sleep(WHILE).await; // looked at over a time, not waited for
        let share = cpu(server).saturating_sub(before).as_secs_f64() / WHILE.as_secs_f64();
        (share < QUIET).then_some(())
    })
    .await;
}

/// CPU time so far, of user and system.
pub(crate) fn cpu(server: &Server) -> Duration {
    let stat = read(server, "stat");
    // The name may have blanks; behind it all is numbers (see proc(5)).
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}

fn read(server: &Server, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", server.program.id())).expect("a process that runs")
}
