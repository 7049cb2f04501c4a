//! The server's CPU time for changes when its watchers have different filters, against as many watchers
//! that have none. Both sides are headcount.
//!
//! The changes are so slow that each one reaches all watchers in a message of its own. The run fails unless
//! every watcher receives the last change that its filter matches.

use std::time::Duration;

use anyhow::ensure;
use futures_util::future::try_join_all;
use headcount::proto::WorkloadFilter;
use tokio::{runtime::Runtime, time::interval};

use crate::{
    bare_tonic::Mode,
    clients,
    server::{Server, Setup, Side},
    support::{
        process::processor_time,
        rounds::{Figure, Measure, compare},
        target::Target,
        typical,
    },
    watch::Watch,
};

pub(crate) const ROW: &str = "filters";

/// Time between changes: a thousand watchers have received one before the next.
const PERIOD: Duration = Duration::from_millis(50);

/// What the watchers watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filters {
    /// All watch everything.
    None,
    /// Each has another filter, which matches everything.
    Different,
    /// Each watches one Workload, with as many watchers for each.
    Names,
}

/// The comparisons, with the names of their sides.
pub(crate) const COMPARISONS: [([Filters; 2], [&str; 2]); 2] = [
    ([Filters::Different, Filters::None], ["1,000 watchers, 1,000 filters", "1,000 watchers, no filter"]),
    ([Filters::Names, Filters::None], ["1,000 watchers of one Workload each", "1,000 watchers, no filter"]),
];

struct Scale {
    rounds: usize,
    watchers: usize,
    workloads: usize,
    changes: usize,
}

const FULL: Scale = Scale { rounds: 3, watchers: 1_000, workloads: 100, changes: 100 };

const QUICK: Scale = Scale { rounds: 1, watchers: 20, workloads: 10, changes: 20 };

pub(crate) fn measure(quick: bool, sides: [Filters; 2]) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare(ROW, scale.rounds, sides, |filters| {
        let server = Server::start(Setup::new(Side::Headcount, Mode::Relay).without_limits())?;
        Runtime::new()?.block_on(run(&server, filters, &scale))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn run(server: &Server, filters: Filters, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let remote = server.remote();
    let numbers = (0..scale.workloads).map(|index| index * typical::PER_WORKLOAD);
    let mut proxies = clients::connect_many(remote, numbers, 1).await?;
    let begin = Watch::open(remote).await?.revision;
    let all = (0..scale.watchers).map(|watcher| filters.of(watcher, scale.workloads));
    let watchers = Watch::many_filtered(remote, all).await?;

    let before = processor_time(server.pid())?;
    let following = watchers.into_iter().enumerate().map(|(watcher, mut watch)| {
        // The proxies report in turn, as often as each other.
        let last = match filters {
            Filters::Names => scale.changes - scale.workloads + watcher % scale.workloads + 1,
            Filters::None | Filters::Different => scale.changes,
        };
        let last = begin + last as u64;
        tokio::spawn(async move {
            watch.until(|watch| watch.revision >= last).await?;
            ensure!(watch.revision == last, "a watcher ends at {}, not {last}", watch.revision);
            Ok(watch.messages)
        })
    });
    let following: Vec<_> = following.collect();
    let mut clock = interval(PERIOD);
    for change in 0..scale.changes {
        clock.tick().await;
        let sequence = change / scale.workloads + 1;
        proxies[change % scale.workloads].report(sequence as u64).await?;
    }
    let messages = try_join_all(following).await?.into_iter().sum::<anyhow::Result<usize>>()?;
    let spent = processor_time(server.pid())?.saturating_sub(before);

    let per_change = |total: f64| total / scale.changes as f64;
    Ok(vec![
        Measure::new("the server's processor time of a change", "µs", per_change(spent.as_secs_f64() * 1e6))
            .target(Target::RatioAtMost(2.0)),
        Measure::new("messages of a change, to all watchers", "", per_change(messages as f64)),
    ])
}

impl Filters {
    /// The filter of the watcher with this number.
    fn of(self, watcher: usize, workloads: usize) -> WorkloadFilter {
        match self {
            Self::None => WorkloadFilter::default(),
            Self::Different => {
                WorkloadFilter { label_selector: format!("team!=t-{watcher}"), ..WorkloadFilter::default() }
            }
            Self::Names => {
                let name = typical::workload(watcher % workloads * typical::PER_WORKLOAD);
                WorkloadFilter { name, namespace: "default".into(), ..WorkloadFilter::default() }
            }
        }
    }
}
