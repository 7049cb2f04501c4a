//! How many dataplanes there are: read from the registry at each scrape, never
//! counted a second time. A Workload's series disappear with it.
//!
//! Written as text directly. Gauges made for each scrape took 100 ms for 10,000
//! Workloads, nearly all of it for keeping and sorting 30,000 sets of labels.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    model::Counts,
    registry::{GroupView, Registry},
};

/// Which numbers a family of series has.
struct Number {
    suffix: &'static str,
    what: &'static str,
    of: fn(&Counts) -> u32,
}

const NUMBERS: [Number; 3] = [
    Number { suffix: "connected", what: "with a live session", of: |counts| counts.connected },
    Number {
        suffix: "healthy",
        what: "that are connected and reported healthy",
        of: |counts| counts.healthy,
    },
    Number { suffix: "registered", what: "that are registered, connected or not", of: |counts| counts.total },
];

/// Bytes that a series takes with names of usual length.
const SERIES: usize = 128;

/// What is said of a mesh.
#[derive(Default)]
struct Mesh {
    counts: Counts,
    workloads: usize,
}

/// Writes the numbers of now, as Prometheus reads them. Names of meshes,
/// namespaces and workloads have no character that its text would escape.
pub(super) fn write(text: &mut String, registry: &Registry) {
    let mut groups = registry.groups();
    groups.sort_unstable_by(|one, other| (&one.workload, &one.mesh).cmp(&(&other.workload, &other.mesh)));
    text.reserve(groups.len() * NUMBERS.len() * SERIES);
    for Number { suffix, what, of } in &NUMBERS {
        let name = format!("headcount_dataplane_proxies_{suffix}");
        head(text, &name, &format!("Dataplane proxies of a Workload {what}."));
        for group in groups.iter().filter(|group| group.holds) {
            let Some(key) = &group.workload else { continue };
            let (mesh, namespace, workload) = (&group.mesh, &key.namespace, &key.name);
            let _infallible = writeln!(
                text,
                r#"{name}{{mesh="{mesh}",namespace="{namespace}",workload="{workload}"}} {}"#,
                of(&group.counts)
            );
        }
    }
    write_meshes(text, &groups);

    let contested = groups.iter().filter(|group| group.contested).map(|group| &group.workload);
    let mut contested: Vec<_> = contested.collect();
    contested.dedup();
    let help = "Workload names that dataplanes of more than one mesh carry in one namespace.";
    single(text, "headcount_workload_mesh_conflicts", help, contested.len());
    let help = "Watches of workloads and events, and waits, that are under way.";
    single(text, "headcount_watchers", help, registry.watchers());
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
    for Number { suffix, what, of } in &NUMBERS {
        let name = format!("headcount_mesh_dataplane_proxies_{suffix}");
        head(text, &name, &format!("Dataplane proxies of a mesh, of whatever workload or none, {what}."));
        for (mesh, Mesh { counts, .. }) in &meshes {
            let _infallible = writeln!(text, r#"{name}{{mesh="{mesh}"}} {}"#, of(counts));
        }
    }
    head(text, "headcount_workloads", "Workloads of a mesh.");
    for (mesh, Mesh { workloads, .. }) in meshes.iter().filter(|(_, mesh)| mesh.workloads > 0) {
        let _infallible = writeln!(text, r#"headcount_workloads{{mesh="{mesh}"}} {workloads}"#);
    }
}

fn single(text: &mut String, name: &str, help: &str, value: usize) {
    head(text, name, help);
    let _infallible = writeln!(text, "{name} {value}");
}

fn head(text: &mut String, name: &str, help: &str) {
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}
