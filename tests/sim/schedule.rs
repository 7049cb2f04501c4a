//! Draws the fault schedule of a round from the seed.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    dataplane::{DATAPLANES, WORKLOADS},
    fault::Fault,
    net::{Crash, LinkState, Side},
    simulation::{WATCHERS, watcher_host},
};

/// Faults with their time since the start of the round, in order.
pub type Schedule = Vec<(Duration, Fault)>;

/// Longest clock jump, in milliseconds: many times every timeout except a session's idle timeout.
const LONGEST_CLOCK_JUMP: u64 = 90_000;

/// Longest life of a token that expires, in milliseconds.
const LONGEST_TOKEN: u64 = 10_000;

/// Greatest base latency of a slow link, in milliseconds: with jitter on top of it, keepalive PINGs
/// may be answered too late.
const GREATEST_LATENCY: u64 = 2_000;

/// Draws a schedule of this length: one to five faults, and health flips throughout. If `secured`, tokens
/// end and are replaced, and the wall clock, by which they do, is not set.
pub fn draw(random: &mut Rng, length: Duration, secured: bool) -> Schedule {
    let mut schedule = Schedule::new();
    for _ in 0..random.usize(1..=5) {
        let from = within(random, length);
        let to = from + within(random, length.saturating_sub(from));
        add_fault(random, from, to, secured, &mut schedule);
    }
    for _ in 0..random.usize(5..40) {
        schedule.push((within(random, length), Fault::HealthFlip { dataplane: random.usize(..DATAPLANES) }));
    }
    schedule.sort_by_key(|(at, _)| *at);
    schedule
}

fn within(random: &mut Rng, length: Duration) -> Duration {
    length.mul_f64(random.f64())
}

/// Adds a fault that begins at one time and may end at the other.
fn add_fault(random: &mut Rng, from: Duration, to: Duration, secured: bool, schedule: &mut Schedule) {
    let mut at = |when, fault| schedule.push((when, fault));
    match random.u8(..if secured { 20 } else { 16 }) {
        0..=3 => {
            let (hosts, toward) = (hosts(random), sides(random));
            let state = if random.bool() { LinkState::Stalled } else { LinkState::Dropping };
            at(from, Fault::Link { hosts: hosts.clone(), toward: toward.clone(), state });
            // Otherwise it lasts until the heal at the end of the round.
            if random.bool() {
                at(to, Fault::Link { hosts, toward, state: LinkState::Up });
            }
        }
        4 => at(from, Fault::Reset { hosts: hosts(random) }),
        5 | 6 => {
            for dataplane in sample(random, DATAPLANES) {
                at(from, Fault::AgentCrash { dataplane, crash: crash(random) });
                if random.bool() {
                    at(to, Fault::AgentStart { dataplane, workload: random.usize(..WORKLOADS) });
                }
            }
        }
        7 => {
            for dataplane in sample(random, DATAPLANES) {
                at(from, Fault::AgentLeave { dataplane });
                if random.bool() {
                    // This may be before the first agent has left: then there are two.
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
            for watcher in sample(random, WATCHERS) {
                let (crash, keeps_replica) = (crash(random), random.bool());
                at(from, Fault::WatcherRestart { watcher, crash, keeps_replica });
            }
        }
        12 => {
            let latency = Duration::from_millis(random.u64(10..GREATEST_LATENCY));
            at(from, Fault::Latency { hosts: hosts(random), latency });
        }
        13 => at(from, Fault::ClockJump { by: Duration::from_millis(random.u64(..LONGEST_CLOCK_JUMP)) }),
        14 => {
            let hosts = hosts(random);
            at(from, Fault::Strand { hosts: hosts.clone() });
            // Otherwise both ends live, and neither receives anything from the other.
            if random.bool() {
                for dataplane in hosts.into_iter().filter(|host| *host < DATAPLANES) {
                    at(from, Fault::AgentCrash { dataplane, crash: crash(random) });
                }
            }
        }
        _ if secured => {
            let dataplanes = sample(random, DATAPLANES);
            let ends = match random.u8(..4) {
                0 => Fault::TokenOfAnother { dataplanes: dataplanes.clone() },
                1 => {
                    let after = Duration::from_millis(random.u64(..LONGEST_TOKEN));
                    Fault::ExpiringToken { dataplanes: dataplanes.clone(), after }
                }
                _ => Fault::Revoke { dataplanes: dataplanes.clone() },
            };
            at(from, ends);
            if random.bool() {
                at(to, Fault::NewToken { dataplanes });
            }
        }
        _ => at(from, Fault::WallClock { seconds: random.i64(-100_000_000..100_000_000) }),
    }
}

fn crash(random: &mut Rng) -> Crash {
    if random.bool() { Crash::Killed } else { Crash::PowerLoss }
}

/// One direction of a link, the other, or both.
fn sides(random: &mut Rng) -> Vec<Side> {
    match random.u8(..4) {
        0 => vec![Side::Host],
        1 => vec![Side::Server],
        _ => vec![Side::Host, Side::Server],
    }
}

/// One to three of them, or one to all.
fn sample(random: &mut Rng, of: usize) -> Vec<usize> {
    let count = if random.bool() { random.usize(1..=3) } else { random.usize(1..=of) };
    random.choose_multiple(0..of, count)
}

/// Hosts of agents and watchers.
fn hosts(random: &mut Rng) -> Vec<usize> {
    sample(random, watcher_host(WATCHERS))
}
