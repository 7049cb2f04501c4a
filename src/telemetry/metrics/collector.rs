//! Gauges of dataplanes and Workloads, and a counter, read from the registry at each scrape. A
//! Workload's series disappear with it.
//!
//! They are written as text directly. Building gauges of the prometheus crate for each scrape
//! took 100 ms for 10,000 Workloads, nearly all of it for storing and sorting 30,000 sets of
//! labels.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    model::Counts,
    registry::{GroupView, Registry, WarmingStatus},
};

/// One of the counts, and its metric.
struct CountMetric {
    suffix: &'static str,
    help: &'static str,
    count: fn(&Counts) -> u32,
}

const COUNTS: [CountMetric; 3] = [
    CountMetric { suffix: "connected", help: "with a live session", count: |counts| counts.connected },
    CountMetric {
        suffix: "healthy",
        help: "that are connected and reported healthy",
        count: |counts| counts.healthy,
    },
    CountMetric {
        suffix: "registered",
        help: "that are registered, connected or not",
        count: |counts| counts.total,
    },
];

/// The type of nearly all of them.
const GAUGE: &str = "gauge";
/// Bytes of one series with names of usual length.
const SERIES_BYTES: usize = 128;

/// The sums of one mesh.
#[derive(Default)]
struct Mesh {
    counts: Counts,
    workloads: usize,
}

/// Appends the current gauges in the Prometheus text format. Label values are names of
/// meshes, namespaces and workloads, which never need escaping.
pub(super) fn write(text: &mut String, registry: &Registry) {
    let mut groups = registry.groups();
    groups.sort_unstable_by(|one, other| (&one.workload, &one.mesh).cmp(&(&other.workload, &other.mesh)));
    text.reserve(groups.len() * COUNTS.len() * SERIES_BYTES);
    for CountMetric { suffix, help, count } in &COUNTS {
        let name = format!("headcount_dataplane_proxies_{suffix}");
        write_header(text, &name, &format!("Dataplane proxies of a Workload {help}."), GAUGE);
        for group in groups.iter().filter(|group| group.holds) {
            let Some(key) = &group.workload else { continue };
            let (mesh, namespace, workload) = (&group.mesh, &key.namespace, &key.name);
            let _infallible = writeln!(
                text,
                r#"{name}{{mesh="{mesh}",namespace="{namespace}",workload="{workload}"}} {}"#,
                count(&group.counts)
            );
        }
    }
    write_meshes(text, &groups);

    let contested = groups.iter().filter(|group| group.contested).map(|group| &group.workload);
    let mut contested: Vec<_> = contested.collect();
    contested.dedup();
    let help = "Workload names that dataplanes of more than one mesh use in one namespace.";
    write_gauge(text, "headcount_workload_mesh_conflicts", help, contested.len());
    let help = "Memory of the registered dataplanes in bytes, as max-registered-bytes limits it.";
    write_gauge(text, "headcount_registered_bytes", help, registry.registered_bytes());
    let help = "Open watches of Workloads and events, and pending waits.";
    write_gauge(text, "headcount_watchers", help, registry.watchers());
    write_warming(text, registry.warming());
    let name = "headcount_sessions_held_off_total";
    let help = "Sessions that were held off because another process with the same identity was connected.";
    write_header(text, name, help, "counter");
    let _infallible = writeln!(text, "{name} {}", registry.held_off());
}

fn write_meshes(text: &mut String, groups: &[GroupView]) {
    let mut meshes: BTreeMap<_, Mesh> = BTreeMap::new();
    for group in groups {
        let mesh = meshes.entry(&group.mesh).or_default();
        mesh.counts.connected += group.counts.connected;
        mesh.counts.healthy += group.counts.healthy;
        mesh.counts.total += group.counts.total;
        mesh.workloads += usize::from(group.holds);
    }
    for CountMetric { suffix, help, count } in &COUNTS {
        let name = format!("headcount_mesh_dataplane_proxies_{suffix}");
        write_header(
            text,
            &name,
            &format!("Dataplane proxies of a mesh, with or without a workload, {help}."),
            GAUGE,
        );
        for (mesh, Mesh { counts, .. }) in &meshes {
            let _infallible = writeln!(text, r#"{name}{{mesh="{mesh}"}} {}"#, count(counts));
        }
    }
    write_header(text, "headcount_workloads", "Workloads of a mesh.", GAUGE);
    for (mesh, Mesh { workloads, .. }) in meshes.iter().filter(|(_, mesh)| mesh.workloads > 0) {
        let _infallible = writeln!(text, r#"headcount_workloads{{mesh="{mesh}"}} {workloads}"#);
    }
}

fn write_warming(text: &mut String, warming: Option<WarmingStatus>) {
    let help = "1 while dataplanes that were connected before a restart may reconnect, else 0.";
    write_gauge(text, "headcount_warming", help, warming.is_some().into());
    let help = "Dataplanes that were connected before a restart and have not reconnected; 0 if not warming.";
    let missing = warming.map_or(0, |status| status.missing);
    write_gauge(text, "headcount_warming_missing_dataplanes", help, missing);
}

fn write_gauge(text: &mut String, name: &str, help: &str, value: usize) {
    write_header(text, name, help, GAUGE);
    let _infallible = writeln!(text, "{name} {value}");
}

/// Appends the counter of log lines, which belongs to the process.
pub(super) fn write_dropped_log_lines(text: &mut String, dropped: u64) {
    let name = "headcount_log_lines_dropped_total";
    let help = "Log lines that were dropped because standard error was read too slowly.";
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {dropped}");
}

pub(super) fn write_header(text: &mut String, name: &str, help: &str, kind: &str) {
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
