//! Memory, CPU and descriptors of the server process, from `/proc`.

use std::{fs, time::Duration};

use crate::support::{Server, retry};

/// One clock tick: `USER_HZ` is 100 on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Share of a core below which a server counts as idle.
const IDLE_SHARE: f64 = 0.1;
/// Time over which CPU use is measured.
const SAMPLE: Duration = Duration::from_millis(500);

/// Resident memory of the server, in KiB.
pub(crate) fn memory(server: &Server) -> u64 {
    let status = read(server, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Number of open file descriptors of the server.
pub(crate) fn open_files(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.program.id())).expect("a running process").count()
}

/// Waits until the server uses almost no CPU.
pub(crate) async fn wait_until_idle(server: &Server) {
    retry("the server is idle", async || {
        let before = cpu(server);
        tokio::time::sleep(SAMPLE).await; // the measuring time
        let share = cpu(server).saturating_sub(before).as_secs_f64() / SAMPLE.as_secs_f64();
        (share < IDLE_SHARE).then_some(())
    })
    .await;
}

/// CPU time so far, user and system.
fn cpu(server: &Server) -> Duration {
    let stat = read(server, "stat");
    // The process name may contain blanks; only numbers follow it (see proc(5)).
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u32>().expect("ticks"));
    TICK * ticks.sum::<u32>()
}

fn read(server: &Server, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", server.program.id())).expect("a running process")
}
