//! One simulation: built from a seed, it injects faults in rounds, heals them, and checks that
//! everything converges.

use std::time::Duration;

use fastrand::Rng;
use headcount::registry::RegistrySettings;
use tokio::time::{Instant, advance, sleep_until};

use crate::{
    convergence::{CONVERGE_WITHIN, RATE_LIMITED_EXTRA},
    dataplane::{DATAPLANES, NAMESPACES, WORKLOADS},
    net::{Crash, Host, Network},
    oracle::Oracle,
    panics,
    replica::Replica,
    schedule,
    server::{Server, set_wall_clock},
    store,
    trace::Trace,
    watcher::Watcher,
};

/// Number of watchers.
pub const WATCHERS: usize = 10;
/// The host that requests listings. No fault is injected into its link.
pub const OBSERVER: Host = DATAPLANES + WATCHERS;
/// Longer than all rounds together, so that no lost dataplane expires within them.
const RETENTION: Duration = Duration::from_hours(2);

/// New sessions per second of a rate-limited server: below the number of agents.
const LOW_SESSION_RATE: usize = 30;

/// The host of a watcher.
pub fn watcher_host(watcher: usize) -> Host {
    DATAPLANES + watcher
}

/// The server, agents and watchers of one seed, the network between them, and the oracle.
#[derive(Debug)]
pub struct Simulation {
    pub network: Network,
    pub server: Server,
    pub oracle: Oracle,
    pub watchers: Vec<Watcher>,
    pub trace: Trace,
    /// Longest time from a heal to agreement.
    pub converge_within: Duration,
    /// Whether dataplanes have tokens.
    secured: bool,
    random: Rng,
}

/// The outcome of a simulation that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Hash of the trace.
    pub trace: u64,
    pub heals: u32,
    /// Longest time from a heal to agreement.
    pub slowest: Duration,
    /// Time that passed on the simulated clock.
    pub simulated: Duration,
}

/// Runs the simulation of a seed; returns the first failed check as an error.
pub async fn run(seed: u64, print: bool) -> Result<Summary, String> {
    panics::record();
    fastrand::seed(seed);
    let began = Instant::now();
    let mut simulation = Simulation::new(seed, print);
    let mut summary = Summary { trace: 0, heals: 0, slowest: Duration::ZERO, simulated: Duration::ZERO };
    simulation.start().await?;
    // Mostly one round: many short simulations cover more than a few long ones.
    let rounds = if simulation.random.u8(..10) == 0 { simulation.random.u32(2..=4) } else { 1 };
    for _ in 0..rounds {
        simulation.inject_faults().await?;
        simulation.heal().await?;
        summary.add(simulation.converge().await?);
    }
    if simulation.random.u8(..4) == 0 {
        simulation.expire_lost().await;
        summary.add(simulation.converge().await?);
    }
    Ok(Summary { trace: simulation.trace.hash(), simulated: began.elapsed(), ..summary })
}

impl Summary {
    fn add(&mut self, took: Duration) {
        self.heals += 1;
        self.slowest = self.slowest.max(took);
    }
}

impl Simulation {
    pub fn new(seed: u64, print: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        let (network, rate_limited) = (Network::new(seed, OBSERVER + 1), random.u8(..4) == 0);
        let settings = RegistrySettings {
            retention: RETENTION,
            // The small log often no longer reaches back to a watcher's resume token.
            log_capacity: if random.bool() { 16 } else { 65_536 },
            max_session_rate: if rate_limited { LOW_SESSION_RATE } else { 2_000 },
            ..RegistrySettings::default()
        };
        let converge_within =
            if rate_limited { CONVERGE_WITHIN + RATE_LIMITED_EXTRA } else { CONVERGE_WITHIN };
        let stores = random.bool().then(|| store::empty(&mut random));
        let server = Server::new(&network, settings).with_stores(stores);
        set_wall_clock(1_800_000_000);
        let secured = random.bool();
        let (oracle, trace) = (Oracle::new(secured), Trace::new(print));
        Self { network, server, oracle, watchers: Vec::new(), trace, converge_within, secured, random }
    }

    /// Starts the server, all watchers and most agents, and waits up to 5 s.
    pub async fn start(&mut self) -> Result<(), String> {
        self.start_server().await?;
        for watcher in 0..WATCHERS {
            let watcher = self.new_watcher(watcher, Replica::new(self.server.is_durable()));
            self.watchers.push(watcher);
        }
        for dataplane in &mut self.oracle.dataplanes {
            if self.random.u8(..10) > 0 {
                dataplane.start(&self.network, self.random.usize(..WORKLOADS));
            }
            if self.random.bool() {
                dataplane.flip_health();
            }
        }
        sleep_until(Instant::now() + Duration::from_millis(self.random.u64(..5_000))).await;
        Ok(())
    }

    /// Runs one round: draws a schedule of 1 to 20 s, and injects its faults.
    async fn inject_faults(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let length = Duration::from_millis(self.random.u64(1_000..20_000));
        for (at, fault) in schedule::draw(&mut self.random, length, self.secured) {
            sleep_until(began + at).await;
            self.inject(&fault).await?;
        }
        Ok(())
    }

    /// Ends all faults of the network, starts the server if it is down or draining, and stops the second
    /// agent of each dataplane that has two. Agents that are down stay down, and tokens that have ended are
    /// not replaced.
    async fn heal(&mut self) -> Result<(), String> {
        self.trace.record("simulation", format_args!("heal"));
        (0..OBSERVER).for_each(|host| self.network.heal(host));
        self.oracle.collect_results().await?;
        self.oracle.stop_duplicates();
        if !self.server.is_serving() {
            self.server.crash(Crash::Killed);
            self.start_server().await?;
        }
        if let Some(expiry) = self.oracle.last_expiry() {
            sleep_until(expiry).await;
        }
        Ok(())
    }

    /// Advances the clock past the retention of all lost dataplanes.
    async fn expire_lost(&mut self) {
        self.trace.record("simulation", format_args!("retention passes"));
        advance(RETENTION).await;
        self.oracle.expire_lost();
    }

    pub async fn start_server(&mut self) -> Result<(), String> {
        self.oracle.collect_results().await?;
        self.server.start().await;
        let stopped = self.server.is_durable().then_some(self.server.stopped);
        self.oracle.server_started(stopped);
        Ok(())
    }

    pub fn start_watcher(&mut self, watcher: usize, replica: Replica) {
        self.watchers[watcher] = self.new_watcher(watcher, replica);
    }

    /// Each watcher has a random generator of its own, so that the order in which two of them retry
    /// does not change what either does.
    fn new_watcher(&mut self, watcher: usize, replica: Replica) -> Watcher {
        // In turn: one namespace, the other, all.
        let namespace = NAMESPACES.get(watcher % (NAMESPACES.len() + 1)).copied();
        let host = watcher_host(watcher);
        Watcher::start(&self.network, host, namespace, replica, &self.trace, self.random.fork())
    }

    /// Checks what must hold at any time: no unexplained end of an agent, no panic, no message that
    /// breaks an invariant.
    pub async fn check_invariants(&mut self) -> Result<(), String> {
        self.oracle.collect_results().await?;
        if let Some(panic) = panics::first() {
            return Err(panic);
        }
        self.oracle.check_rights(&self.server)?;
        for (number, watcher) in self.watchers.iter().enumerate() {
            if let Some(violation) = watcher.violation() {
                return Err(format!("watcher {number} received: {violation}"));
            }
            watcher
                .with_replica(|replica| self.oracle.check_untouched(replica, |key| watcher.selects(key)))
                .map_err(|problem| format!("watcher {number}: {problem}"))?;
        }
        Ok(())
    }
}
