//! The vault without sockets: what a health flip costs among many dataplanes
//! and among few, and what a registered dataplane weighs.

mod support;

use std::{fmt, hint::black_box, process, time::Instant};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use headcount::{
    model::{Health, HealthReport, HealthState},
    registry::{Registry, RegistrySettings, Session},
};

use self::support::{
    args::Args,
    child::{self, Process},
    process::resident_bytes,
    report::Report,
    rounds::{Measure, compare},
    typical,
};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(role) = &args.role {
        return weigh(serde_json::from_str(role)?);
    }
    let scale = if args.quick { QUICK } else { FULL };
    let sizes = [scale.many, scale.few];
    let mut report = Report::new("registry", sizes);
    if args.wants("memory") {
        report.add(compare("memory", scale.weighings, sizes, |size| {
            let (_weigher, bytes): (_, f64) = Process::start(&size.0)?;
            Ok(vec![Measure::new("memory per registered and connected dataplane", "bytes", bytes)])
        })?);
    }
    if args.wants("flip") || args.wants("identical") {
        let (mut many, mut few) = (Vault::of(scale.many)?, Vault::of(scale.few)?);
        for vault in [&mut many, &mut few] {
            vault.flip(scale.warm_up)?;
        }
        let mut on = |size: Size, measure: fn(&mut Vault, usize) -> anyhow::Result<Measure>| {
            let vault = if size == scale.many { &mut many } else { &mut few };
            Ok(vec![measure(vault, scale.operations)?])
        };
        if args.wants("flip") {
            report.add(compare("flip", scale.rounds, sizes, |size| on(size, Vault::flip))?);
        }
        if args.wants("identical") {
            report.add(compare("identical", scale.rounds, sizes, |size| on(size, Vault::repeat))?);
        }
    }
    report.publish(&args)
}

/// How much of everything.
struct Scale {
    many: Size,
    few: Size,
    rounds: usize,
    /// Reports in one round.
    operations: usize,
    /// More than the change log holds, so that it is full and drops a change
    /// for each one that it takes.
    warm_up: usize,
    weighings: usize,
}

const FULL: Scale = Scale {
    many: Size(1_000_000),
    few: Size(10_000),
    rounds: 15,
    operations: 200_000,
    warm_up: 200_000,
    weighings: 3,
};

const QUICK: Scale = Scale {
    many: Size(20_000),
    few: Size(1_000),
    rounds: 3,
    operations: 20_000,
    warm_up: 70_000,
    weighings: 1,
};

/// Dataplanes in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(dataplanes) = self;
        let workloads = dataplanes / typical::PER_WORKLOAD;
        write!(f, "{} dataplanes in {} workloads", grouped(*dataplanes), grouped(workloads))
    }
}

/// With a comma before each three digits.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// In the role: fills a registry, and says what a dataplane in it weighs.
fn weigh(dataplanes: usize) -> anyhow::Result<()> {
    let mut sessions = Vec::with_capacity(dataplanes);
    let before = resident_bytes(process::id())?;
    let _registry = fill(dataplanes, &mut sessions)?;
    let grown = resident_bytes(process::id())?.saturating_sub(before);
    child::announce(&per(grown, dataplanes)?)?;
    // The kernel takes it back faster than a million sessions say farewell.
    process::exit(0)
}

fn fill(dataplanes: usize, sessions: &mut Vec<Session>) -> anyhow::Result<Registry> {
    let registry = Registry::new(RegistrySettings {
        max_dataplanes: dataplanes,
        max_sessions: dataplanes,
        max_sessions_per_mesh: dataplanes,
        ..RegistrySettings::default()
    });
    for number in 0..dataplanes {
        sessions.push(registry.hello(typical::dataplane(number)?)?.session);
    }
    Ok(registry)
}

/// A full registry. Its sessions are in random order, so that a visit finds
/// its dataplane as cold as the number of them makes it.
struct Vault {
    registry: Registry,
    sessions: Vec<Session>,
    flips: usize,
}

impl Vault {
    fn of(Size(dataplanes): Size) -> anyhow::Result<Self> {
        let mut sessions = Vec::with_capacity(dataplanes);
        let registry = fill(dataplanes, &mut sessions)?;
        fastrand::Rng::with_seed(1).shuffle(&mut sessions);
        Ok(Self { registry, sessions, flips: 0 })
    }

    /// Visits sessions one after another, all of them before one comes again;
    /// each visit flips the session.
    fn flip(&mut self, times: usize) -> anyhow::Result<Measure> {
        let revision = self.registry.head();
        let [ready, not_ready] = reports();
        let start = Instant::now();
        for _ in 0..times {
            let (pass, at) = (self.flips / self.sessions.len(), self.flips % self.sessions.len());
            self.sessions[at].report(if pass % 2 == 0 { ready } else { not_ready });
            self.flips += 1;
        }
        let value = per(start.elapsed().as_nanos(), times)?;
        let visible = self.registry.head() - revision;
        ensure!(visible == times as u64, "{visible} of {times} flips were visible");
        Ok(Measure::new("a report that flips health", "ns", value))
    }

    /// The same with reports that say what was said before.
    fn repeat(&mut self, times: usize) -> anyhow::Result<Measure> {
        let revision = self.registry.head();
        let [ready, not_ready] = reports();
        // Those before the place where flipping stopped are one flip ahead.
        let (pass, stopped) = (self.flips / self.sessions.len(), self.flips % self.sessions.len());
        let start = Instant::now();
        for visit in 0..times {
            let at = visit % self.sessions.len();
            let flips = pass + usize::from(at < stopped);
            self.sessions[at].report(if flips % 2 == 1 { ready } else { not_ready });
        }
        let value = per(start.elapsed().as_nanos(), times)?;
        ensure!(self.registry.head() == revision, "a report that says nothing new was visible");
        Ok(Measure::new("a report that says the same again", "ns", value))
    }
}

/// Ready and not ready, as the optimiser can't foresee.
fn reports() -> [HealthReport; 2] {
    [HealthState::Ready, HealthState::NotReady].map(|state| {
        let mut health = Health::of_proxy(HealthState::Ready);
        health.set_inbound(0, state);
        black_box(HealthReport { sequence: 1, health })
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
fn per(amount: impl TryInto<u64>, count: usize) -> anyhow::Result<f64> {
    let amount = amount.try_into().ok().context("too much to count")?;
    Ok(amount as f64 / count as f64)
}
