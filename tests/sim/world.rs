//! One world: it is made from a seed, suffers, heals and is looked at.

use std::time::Duration;

use fastrand::Rng;
use headcount::registry::RegistrySettings;
use tokio::time::{Instant, advance, sleep_until};

use crate::{
    dataplane::{DATAPLANES, NAMESPACES, WORKLOADS},
    fold::Fold,
    net::{Crash, Host, Network},
    panics, plan,
    server::{Server, set_wall_clock},
    settle::{SETTLE, SHED_ONCE},
    trace::Trace,
    truth::Truth,
    watcher::Watcher,
};

/// How many watch.
pub const WATCHERS: usize = 10;
/// The host that asks for listings. Nothing happens to its link.
pub const OBSERVER: Host = DATAPLANES + WATCHERS;
/// Longer than any run, so that within it nobody is forgotten.
const RETENTION: Duration = Duration::from_hours(2);

/// New sessions in a second, of a server that lets its agents in by and by.
const LOW_SESSION_RATE: usize = 30;

/// The host of a watcher.
pub fn watcher_host(watcher: usize) -> Host {
    DATAPLANES + watcher
}

/// See the module's documentation.
#[derive(Debug)]
pub struct World {
    pub network: Network,
    pub server: Server,
    pub truth: Truth,
    pub watchers: Vec<Watcher>,
    pub trace: Trace,
    /// From a heal until all is right.
    pub settle_within: Duration,
    random: Rng,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Equal for equal runs.
    pub trace: u64,
    pub heals: u32,
    /// The longest that it took after a heal until all was right.
    pub longest: Duration,
    /// How long it all took on the simulated clock.
    pub simulated: Duration,
}

/// Runs a world to its end; an error says what was wrong.
pub async fn run(seed: u64, print: bool) -> Result<Summary, String> {
    panics::watch();
    fastrand::seed(seed);
    let began = Instant::now();
    let mut world = World::new(seed, print);
    let mut summary = Summary { trace: 0, heals: 0, longest: Duration::ZERO, simulated: Duration::ZERO };
    world.begin().await?;
    // Most are short, so that there can be many of them.
    let rounds = if world.random.u8(..10) == 0 { world.random.u32(2..=4) } else { 1 };
    for _ in 0..rounds {
        world.round().await?;
        world.heal().await?;
        summary.note(world.settle().await?);
    }
    if world.random.u8(..4) == 0 {
        world.outlast_retention().await;
        summary.note(world.settle().await?);
    }
    Ok(Summary { trace: world.trace.hash(), simulated: began.elapsed(), ..summary })
}

impl Summary {
    fn note(&mut self, took: Duration) {
        self.heals += 1;
        self.longest = self.longest.max(took);
    }
}

impl World {
    fn new(seed: u64, print: bool) -> Self {
        let mut random = Rng::with_seed(seed);
        let (network, may_shed) = (Network::new(seed, OBSERVER + 1), random.u8(..4) == 0);
        let settings = RegistrySettings {
            retention: RETENTION,
            // Often too short for who was away.
            log_capacity: if random.bool() { 16 } else { 65_536 },
            max_session_rate: if may_shed { LOW_SESSION_RATE } else { 2_000 },
            ..RegistrySettings::default()
        };
        let settle_within = if may_shed { SETTLE + SHED_ONCE } else { SETTLE };
        let server = Server::new(&network, settings);
        let (truth, trace) = (Truth::new(), Trace::new(print));
        Self { network, server, truth, watchers: Vec::new(), trace, settle_within, random }
    }

    /// Everybody starts, most of them before the first fault.
    async fn begin(&mut self) -> Result<(), String> {
        set_wall_clock(1_800_000_000);
        self.start_server().await?;
        for watcher in 0..WATCHERS {
            let watcher = self.new_watcher(watcher, Fold::default());
            self.watchers.push(watcher);
        }
        for slot in &mut self.truth.slots {
            if self.random.u8(..10) > 0 {
                slot.start(&self.network, self.random.usize(..WORKLOADS));
            }
            if self.random.bool() {
                slot.flip();
            }
        }
        sleep_until(Instant::now() + Duration::from_millis(self.random.u64(..5_000))).await;
        Ok(())
    }

    /// Faults, as planned.
    async fn round(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let length = Duration::from_millis(self.random.u64(1_000..20_000));
        for (at, fault) in plan::round(&mut self.random, length) {
            sleep_until(began + at).await;
            self.suffer(&fault).await?;
        }
        Ok(())
    }

    /// All faults end. Who is down stays down, except for the server.
    async fn heal(&mut self) -> Result<(), String> {
        self.trace.note("world", format_args!("heals"));
        (0..OBSERVER).for_each(|host| self.network.heal(host));
        if !self.server.is_serving() {
            self.server.crash(Crash::Killed);
            self.start_server().await?;
        }
        Ok(())
    }

    /// Sleeps until lost dataplanes are forgotten.
    async fn outlast_retention(&mut self) {
        self.trace.note("world", format_args!("outlasts retention"));
        advance(RETENTION).await;
        self.truth.forget_lost();
    }

    pub async fn start_server(&mut self) -> Result<(), String> {
        self.truth.reap().await?;
        self.server.start().await;
        self.truth.server_is_new();
        Ok(())
    }

    pub fn start_watcher(&mut self, watcher: usize, fold: Fold) {
        self.watchers[watcher] = self.new_watcher(watcher, fold);
    }

    /// A watcher with a chance of its own: which of two that are lost together
    /// tries again first does not matter to the other.
    fn new_watcher(&mut self, watcher: usize, fold: Fold) -> Watcher {
        // Some see all, and some a part.
        let namespace = NAMESPACES.get(watcher % (NAMESPACES.len() + 1)).copied();
        let host = watcher_host(watcher);
        Watcher::start(&self.network, host, namespace, fold, &self.trace, self.random.fork())
    }

    /// Whatever may be wrong at any time.
    pub async fn look_for_wrongs(&mut self) -> Result<(), String> {
        self.truth.reap().await?;
        if let Some(panic) = panics::first() {
            return Err(panic);
        }
        let wrong =
            self.watchers.iter().enumerate().find_map(|(number, watcher)| {
                Some(format!("watcher {number} was told: {}", watcher.wrong()?))
            });
        wrong.map_or(Ok(()), Err)
    }
}
