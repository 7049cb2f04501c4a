//! A thread that reads through every door while the writers write.

use std::{
    sync::atomic::{AtomicBool, Ordering::Acquire},
    thread,
};

use fastrand::Rng;
use headcount::registry::Registry;

use super::ledger::{Ledger, MOVERS};
use crate::{
    lens::{Lens, SELECTOR_COUNT},
    reader::{Known, Reader, known},
    world::{MESHES, NAMESPACES, WORKLOADS, assert_bounds, workload_key},
};

/// Reads until the writers are done and there is no more news.
pub(super) fn read(registry: &Registry, done: &AtomicBool, rng: &mut Rng, movers: u32) -> Ledger {
    let mut ledger = Ledger::default();
    let mut readers = vec![Reader::new(registry, Lens::all())];
    for _ in 0..rng.usize(1..4) {
        readers.push(Reader::new(registry, lens(rng)));
    }
    // The one of these that is rarely asked is a slow reader.
    while !done.load(Acquire) {
        let at = rng.usize(..readers.len()).min(rng.usize(..readers.len()));
        match rng.u8(..12) {
            0 => readers[at].resume(registry),
            1 => readers[at] = Reader::new(registry, readers[at].lens()),
            2 => look(registry, rng, &mut ledger, movers),
            3 => registry.groups().iter().for_each(|group| assert_bounds(group.counts)),
            4 => thread::yield_now(),
            _ => {
                hear(&mut readers[at], &mut ledger, movers);
            }
        }
    }
    for reader in &mut readers {
        while hear(reader, &mut ledger, movers) {}
        let now = registry.snapshot();
        ledger.note(Lens::all(), now.revision, known(&now.workloads), movers);
        ledger.note(reader.lens(), now.revision, reader.known().clone(), movers);
    }
    ledger
}

fn hear(reader: &mut Reader, ledger: &mut Ledger, movers: u32) -> bool {
    let Some(heard) = reader.poll() else {
        return false;
    };
    ledger.note(reader.lens(), heard.synced, reader.known().clone(), movers);
    true
}

/// Lists, in pages or at once, or gets a single one.
fn look(registry: &Registry, rng: &mut Rng, ledger: &mut Ledger, movers: u32) {
    if rng.bool() {
        let (namespace, name) = (pick(rng, &NAMESPACES), pick(rng, &WORKLOADS));
        let (workload, revision) = registry.get(&workload_key((namespace, name)));
        let known = workload.map(|workload| (workload.key().clone(), workload));
        let lens = Lens { namespace: Some(namespace), name: Some(name), ..Lens::all() };
        return ledger.note(lens, revision, known.into_iter().collect(), movers);
    }
    let lens = if rng.bool() { Lens::all() } else { lens(rng) };
    let (mut known, mut at, mut after) = (Known::new(), None, None);
    let size = rng.usize(1..5);
    loop {
        // A listing that can't go on is given up; the log may be very short.
        let Ok(page) = registry.list(&lens.filter(), size, at, after.as_ref()) else {
            return;
        };
        known.extend(page.workloads.into_iter().map(|w| (w.key().clone(), w)));
        (at, after) = (Some(page.revision), page.next_after);
        if after.is_none() {
            return ledger.note(lens, page.revision, known, movers);
        }
    }
}

fn lens(rng: &mut Rng) -> Lens {
    let mut lens = Lens { selector: rng.usize(..SELECTOR_COUNT), ..Lens::all() };
    match rng.u8(..5) {
        0 => lens.mesh = Some(pick(rng, &MESHES)),
        1 => lens.namespace = Some(pick(rng, &[NAMESPACES[0], MOVERS])),
        2 => lens.name = Some(pick(rng, &WORKLOADS)),
        _ => {}
    }
    lens
}

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}
