//! A thread that reads in every way while the writers write.

use std::{
    sync::atomic::{AtomicBool, Ordering::Acquire},
    thread,
};

use fastrand::Rng;
use headcount::registry::Registry;

use super::observations::{MOVERS, Observations};
use crate::{
    domain::{MESHES, NAMESPACES, WORKLOADS, assert_bounds, workload_key},
    filter_case::{FilterCase, SELECTOR_COUNT},
    reader::{Known, Reader, known},
};

/// Reads until the writers are done and every reader has caught up.
pub(super) fn read(registry: &Registry, done: &AtomicBool, rng: &mut Rng, movers: u32) -> Observations {
    let mut observations = Observations::default();
    let mut readers = vec![Reader::new(registry, FilterCase::all())];
    for _ in 0..rng.usize(1..4) {
        readers.push(Reader::new(registry, any_filter(rng)));
    }
    while !done.load(Acquire) {
        // The smaller of two draws: the last readers are polled rarely, as slow clients are.
        let at = rng.usize(..readers.len()).min(rng.usize(..readers.len()));
        match rng.u8(..12) {
            0 => readers[at].resume(registry),
            1 => readers[at] = Reader::new(registry, readers[at].filter()),
            2 => get_or_list(registry, rng, &mut observations, movers),
            3 => registry.groups().iter().for_each(|group| assert_bounds(group.counts)),
            4 => thread::yield_now(),
            _ => {
                poll(&mut readers[at], &mut observations, movers);
            }
        }
    }
    for reader in &mut readers {
        while poll(reader, &mut observations, movers) {}
        let now = registry.snapshot();
        observations.record(FilterCase::all(), now.revision, known(&now.workloads), movers);
        observations.record(reader.filter(), now.revision, reader.known().clone(), movers);
    }
    observations
}

fn poll(reader: &mut Reader, observations: &mut Observations, movers: u32) -> bool {
    let Some(received) = reader.poll() else {
        return false;
    };
    observations.record(reader.filter(), received.synced, reader.known().clone(), movers);
    true
}

/// Gets one Workload, or lists them in pages.
fn get_or_list(registry: &Registry, rng: &mut Rng, observations: &mut Observations, movers: u32) {
    if rng.bool() {
        let (namespace, name) = (pick(rng, &NAMESPACES), pick(rng, &WORKLOADS));
        let (workload, revision) = registry.get(&workload_key((namespace, name)));
        let known = workload.map(|workload| (workload.key().clone(), workload));
        let filter = FilterCase { namespace: Some(namespace), name: Some(name), ..FilterCase::all() };
        return observations.record(filter, revision, known.into_iter().collect(), movers);
    }
    let filter = if rng.bool() { FilterCase::all() } else { any_filter(rng) };
    let (mut known, mut at, mut after) = (Known::new(), None, None);
    let size = rng.usize(1..5);
    loop {
        // The change log may be too short for the next page; then the listing is abandoned.
        let Ok(page) = registry.list(&filter.filter(), size, at, after.as_ref()) else {
            return;
        };
        known.extend(page.workloads.into_iter().map(|w| (w.key().clone(), w)));
        (at, after) = (Some(page.revision), page.next_after);
        if after.is_none() {
            return observations.record(filter, page.revision, known, movers);
        }
    }
}

fn any_filter(rng: &mut Rng) -> FilterCase {
    let mut filter = FilterCase { selector: rng.usize(..SELECTOR_COUNT), ..FilterCase::all() };
    match rng.u8(..5) {
        0 => filter.mesh = Some(pick(rng, &MESHES)),
        1 => filter.namespace = Some(pick(rng, &[NAMESPACES[0], MOVERS])),
        2 => filter.name = Some(pick(rng, &WORKLOADS)),
        _ => {}
    }
    filter
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}
