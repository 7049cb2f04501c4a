//! The operations of a sequence, and how often each one is drawn.

use std::{ops::RangeInclusive, time::Duration};

use headcount::{model::HealthState, registry::RegistrySettings};
use proptest::{
    collection::vec,
    option,
    prelude::{BoxedStrategy, Just, Strategy, any},
    prop_oneof,
    sample::select,
};

use crate::{
    domain::{
        INBOUNDS, Identity, MESHES, NAMESPACES, Name, ReportedHealth, Statement, WORKLOADS, ZONES, settings,
    },
    filter_case::{FilterCase, SELECTOR_COUNT},
};

/// Lengths of sequences. Most are short, so that 10,000 run in a minute; some are long, for bugs that
/// need a history.
const SHORT: RangeInclusive<usize> = 1..=20;
const LONG: RangeInclusive<usize> = 21..=60;

/// A sequence of operations, and the settings of the registry.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) setting: Setting,
    pub(super) ops: Vec<Op>,
}

/// The settings that the model knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) retention: Duration,
    pub(super) flap_interval: Duration,
    pub(super) log_capacity: usize,
    pub(super) max_dataplanes: usize,
    pub(super) max_sessions: usize,
    pub(super) max_sessions_per_mesh: usize,
}

/// An index into a list, modulo its length; the operation is skipped if the list is empty.
pub(super) type Pick = u8;

#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Registers a dataplane, reconnects it, takes over its session, or moves it. The number is that of
    /// later attempts whose hellos have arrived before.
    Hello(Identity, Statement, u8),
    /// A session reports. Like the next two, it may be a superseded one.
    Report(Pick, ReportedHealth),
    Goodbye(Pick),
    Disconnect(Pick),
    /// The server drains.
    Drain,
    /// The clock advances by seconds, over the retention of some lost dataplanes.
    Advance(u8),
    /// A watch is opened.
    Watch(FilterCase),
    /// A reader receives one message.
    Poll(Pick),
    /// A reader disconnects and resumes.
    Resume(Pick),
    /// A reader closes its watch.
    CloseWatch(Pick),
    /// A listing begins, with pages of this size.
    List(FilterCase, u8),
    /// A listing continues with its next page.
    Page(Pick),
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let ops = prop_oneof![2 => vec(op(), SHORT), 1 => vec(op(), LONG)];
    (setting(), ops).prop_map(|(setting, ops)| Case { setting, ops })
}

impl Setting {
    pub(super) fn settings(self) -> RegistrySettings {
        RegistrySettings {
            retention: self.retention,
            flap_interval: self.flap_interval,
            log_capacity: self.log_capacity,
            max_dataplanes: self.max_dataplanes,
            max_sessions: self.max_sessions,
            max_sessions_per_mesh: self.max_sessions_per_mesh,
            ..settings()
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let retention = prop_oneof![4 => Just(60), 1 => Just(0)].prop_map(Duration::from_secs);
    let flap_interval = prop_oneof![2 => Just(0), 1 => Just(100)].prop_map(Duration::from_millis);
    let log_capacity = select(&[1_000, 12, 3, 2, 1][..]);
    let limits = prop_oneof![4 => Just((100, 100, 100)), 1 => Just((6, 4, 2))];
    (retention, flap_interval, log_capacity, limits).prop_map(
        |(retention, flap_interval, log_capacity, limits)| {
            let (max_dataplanes, max_sessions, max_sessions_per_mesh) = limits;
            Setting {
                retention,
                flap_interval,
                log_capacity,
                max_dataplanes,
                max_sessions,
                max_sessions_per_mesh,
            }
        },
    )
}

fn op() -> BoxedStrategy<Op> {
    let pick = any::<Pick>;
    prop_oneof![
        10 => (identity(), statement(), prop_oneof![8 => Just(0), 2 => 1..4_u8])
            .prop_map(|(identity, statement, late)| Op::Hello(identity, statement, late)),
        8 => (pick(), health()).prop_map(|(session, health)| Op::Report(session, health)),
        2 => pick().prop_map(Op::Goodbye),
        4 => pick().prop_map(Op::Disconnect),
        2 => (1..90_u8).prop_map(Op::Advance),
        1 => Just(Op::Drain),
        1 => filter().prop_map(Op::Watch),
        5 => pick().prop_map(Op::Poll),
        2 => pick().prop_map(Op::Resume),
        1 => pick().prop_map(Op::CloseWatch),
        1 => (filter(), 1..4_u8).prop_map(|(filter, size)| Op::List(filter, size)),
        2 => pick().prop_map(Op::Page),
    ]
    .boxed()
}

/// Twelve dataplanes, most of them in one namespace.
fn identity() -> impl Strategy<Value = Identity> {
    let namespace = prop_oneof![3 => Just(NAMESPACES[0]), 1 => Just(NAMESPACES[1])];
    (select(&MESHES[..]), namespace, select(&["d0", "d1"][..])).prop_map(|(mesh, namespace, name)| Identity {
        mesh,
        namespace,
        name,
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let workload = prop_oneof![
        4 => Just(Some(WORKLOADS[0])),
        2 => Just(Some(WORKLOADS[1])),
        1 => Just(None),
    ];
    (workload, select(&ZONES[..]), any::<bool>(), 0..=INBOUNDS)
        .prop_map(|(workload, zone, kubernetes, inbounds)| Statement { workload, zone, kubernetes, inbounds })
}

fn health() -> impl Strategy<Value = ReportedHealth> {
    let state = || {
        prop_oneof![
            4 => Just(HealthState::Ready),
            1 => Just(HealthState::NotReady),
            1 => Just(HealthState::Unknown),
        ]
    };
    (state(), [state(), state()]).prop_map(|(proxy, inbounds)| ReportedHealth { proxy, inbounds })
}

fn filter() -> impl Strategy<Value = FilterCase> {
    fn rarely(names: &'static [Name]) -> impl Strategy<Value = Option<Name>> {
        option::weighted(0.25, select(names))
    }
    let selector = prop_oneof![1 => Just(0), 1 => 0..SELECTOR_COUNT];
    (rarely(&MESHES), rarely(&NAMESPACES), rarely(&WORKLOADS), selector)
        .prop_map(|(mesh, namespace, name, selector)| FilterCase { mesh, namespace, name, selector })
}
