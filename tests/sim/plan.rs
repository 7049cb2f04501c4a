//! What happens in a round, and when: drawn from the seed.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    dataplane::{DATAPLANES, WORKLOADS},
    fault::Fault,
    net::{Crash, Side, Way},
    world::{WATCHERS, watcher_host},
};

/// Things that happen, with their time since the beginning of the round, in
/// order.
pub type Plan = Vec<(Duration, Fault)>;

/// The longest leap: many times every timeout but that of sessions in silence.
const LONGEST_LEAP: u64 = 90_000;

/// Milliseconds that slow bytes travel at most, before what chance adds: PINGs
/// may then come back too late.
const SLOWEST: u64 = 2_000;

/// Draws a round of this length.
pub fn round(random: &mut Rng, length: Duration) -> Plan {
    let mut plan = Plan::new();
    for _ in 0..random.usize(1..=5) {
        let from = within(random, length);
        let to = from + within(random, length.saturating_sub(from));
        trouble(random, from, to, &mut plan);
    }
    // Life goes on meanwhile.
    for _ in 0..random.usize(5..40) {
        plan.push((within(random, length), Fault::Flip { dataplane: random.usize(..DATAPLANES) }));
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

fn within(random: &mut Rng, length: Duration) -> Duration {
    length.mul_f64(random.f64())
}

/// One kind of trouble, between two times.
fn trouble(random: &mut Rng, from: Duration, to: Duration, plan: &mut Plan) {
    let mut at = |when, fault| plan.push((when, fault));
    match random.u8(..15) {
        0..=3 => {
            let (hosts, to_sides) = (hosts(random), sides(random));
            let way = if random.bool() { Way::Held } else { Way::Lossy };
            at(from, Fault::Link { hosts: hosts.clone(), to: to_sides.clone(), way });
            // If it does not end before, it ends with the round.
            if random.bool() {
                at(to, Fault::Link { hosts, to: to_sides, way: Way::Whole });
            }
        }
        4 => at(from, Fault::Reset { hosts: hosts(random) }),
        5 | 6 => {
            for dataplane in some(random, DATAPLANES) {
                at(from, Fault::AgentCrash { dataplane, crash: crash(random) });
                if random.bool() {
                    at(to, Fault::AgentStart { dataplane, workload: random.usize(..WORKLOADS) });
                }
            }
        }
        7 => {
            for dataplane in some(random, DATAPLANES) {
                at(from, Fault::AgentLeave { dataplane });
                if random.bool() {
                    // Perhaps before it has left: then there are two.
                    at(to, Fault::AgentStart { dataplane, workload: random.usize(..WORKLOADS) });
                }
            }
        }
        8 => {
            let dataplane = random.usize(..DATAPLANES);
            at(from, Fault::AgentStart { dataplane, workload: random.usize(..WORKLOADS) });
        }
        9 => {
            at(from, Fault::ServerCrash { crash: crash(random) });
            at(to, Fault::ServerStart);
        }
        10 => {
            at(from, Fault::ServerDrain);
            at(to, Fault::ServerStart);
        }
        11 => {
            for watcher in some(random, WATCHERS) {
                let (crash, remembers) = (crash(random), random.bool());
                at(from, Fault::WatcherRestart { watcher, crash, remembers });
            }
        }
        12 => {
            let latency = Duration::from_millis(random.u64(10..SLOWEST));
            at(from, Fault::Slow { hosts: hosts(random), latency });
        }
        13 => at(from, Fault::Leap { by: Duration::from_millis(random.u64(..LONGEST_LEAP)) }),
        _ => at(from, Fault::WallClock { seconds: random.i64(-100_000_000..100_000_000) }),
    }
}

fn crash(random: &mut Rng) -> Crash {
    if random.bool() { Crash::Killed } else { Crash::Silent }
}

/// One way, the other, or both.
fn sides(random: &mut Rng) -> Vec<Side> {
    match random.u8(..4) {
        0 => vec![Side::Host],
        1 => vec![Side::Server],
        _ => vec![Side::Host, Side::Server],
    }
}

/// A few of them, or up to all.
fn some(random: &mut Rng, of: usize) -> Vec<usize> {
    let count = if random.bool() { random.usize(1..=3) } else { random.usize(1..=of) };
    random.choose_multiple(0..of, count)
}

/// Hosts of agents and watchers.
fn hosts(random: &mut Rng) -> Vec<usize> {
    some(random, watcher_host(WATCHERS))
}
