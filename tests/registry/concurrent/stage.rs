//! One sequence: sets the scene, lets all loose, and has judged what is left.

use std::{
    array,
    panic::resume_unwind,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Release},
    },
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use fastrand::Rng;
use headcount::registry::{Registry, RegistrySettings};
use tokio::{runtime::Runtime, sync::mpsc, time::sleep};

use super::{
    ledger::{Ledger, MOVERS},
    readers::read,
    verdict,
    writer::{Desk, Graveyard, Role, write},
};
use crate::world::{MESHES, NAMESPACES, Name, Who, settings};

/// With the readers more than cores, so that threads also stop in the middle
/// of something.
const WRITERS: usize = 3;
const READERS: usize = 1;

/// The names of each writer's own dataplanes.
const NAMES: [[Name; 3]; WRITERS] = [["p0", "p1", "p2"], ["q0", "q1", "q2"], ["r0", "r1", "r2"]];

/// How long a lost dataplane is kept if the sequence is about retention. The
/// clock leaps whenever nobody uses it, so that is over soon, at an instant
/// that no writer knows.
const RETENTION: Duration = Duration::from_secs(1);

pub(super) fn play(rng: &mut Rng, clock: &Runtime) {
    let forgetful = rng.bool();
    let mut settings = RegistrySettings { log_capacity: [1, 3, 16, 1_000][rng.usize(..4)], ..settings() };
    if forgetful {
        settings.retention = RETENTION;
    }
    let registry = Registry::new(settings);
    let graveyard = Graveyard::default();
    let mut cast: [Vec<Desk>; WRITERS] = array::from_fn(|writer| desks(writer, rng));
    let mut movers = 0;
    for mover in cast.iter_mut().flatten().filter(|desk| desk.role == Role::Mover) {
        mover.hello(&registry, &graveyard, rng);
        movers += 1;
    }

    let start = Barrier::new(WRITERS + READERS);
    let done = AtomicBool::new(false);
    let (alive, gone) = mpsc::channel(1);
    let ledgers: Vec<Ledger> = thread::scope(|scope| {
        // Also when the rest of this fails, or the readers would read for ever.
        let done_at_last = Done(&done);
        let (registry, graveyard, start, done) = (&registry, &graveyard, &start, &done);
        let writers = cast.each_mut().map(|desks| {
            let (mut rng, alive) = (rng.fork(), alive.clone());
            scope.spawn(move || {
                let _alive = alive;
                let _clock = clock.enter();
                start.wait();
                write(desks, registry, graveyard, &mut rng);
            })
        });
        drop(alive);
        let readers: [_; READERS] = array::from_fn(|_| {
            let mut rng = rng.fork();
            scope.spawn(move || {
                start.wait();
                read(registry, done, &mut rng, movers)
            })
        });
        keep_time(registry, graveyard, forgetful, clock, gone);
        for writer in writers {
            join(writer);
        }
        drop(done_at_last);
        readers.into_iter().map(join).collect()
    });
    Ledger::assert_consistent(&ledgers);
    let desks: Vec<_> = cast.iter().flatten().collect();
    verdict::judge(&registry, &desks, forgetful);
}

/// The dataplanes of a writer: two of its own, one that moves, and perhaps the
/// one that the first two writers fight for.
fn desks(writer: usize, rng: &mut Rng) -> Vec<Desk> {
    let [one, other, mover] = NAMES[writer];
    // Mostly one mesh, or the name would be contested nearly always.
    let mut mesh = || MESHES[[0, 0, 0, 0, 1, 2][rng.usize(..6)]];
    let who = |mesh, namespace, name| Who { mesh, namespace, name };
    let mut desks = vec![
        Desk::new(who(mesh(), NAMESPACES[0], one), Role::Own),
        Desk::new(who(mesh(), NAMESPACES[0], other), Role::Own),
        Desk::new(who(MESHES[0], MOVERS, mover), Role::Mover),
    ];
    if writer < 2 {
        let contested = who(MESHES[0], NAMESPACES[0], "contested");
        desks.push(Desk::new(contested, Role::Contested));
    }
    desks
}

/// Waits for the writers, and ends retention meanwhile and after if the
/// sequence is about that.
fn keep_time(
    registry: &Registry,
    graveyard: &Graveyard,
    forgetful: bool,
    clock: &Runtime,
    mut gone: mpsc::Receiver<()>,
) {
    clock.block_on(async {
        let until_quiet = async {
            gone.recv().await;
            graveyard.bury_all();
            if forgetful {
                sleep(2 * RETENTION).await;
            }
        };
        tokio::select! {
            biased;
            () = registry.run(), if forgetful => unreachable!("it runs for ever"),
            () = until_quiet => {}
        }
    });
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
