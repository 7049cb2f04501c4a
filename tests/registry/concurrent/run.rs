//! One case: starts the writers and the reader, waits for them, and has the outcome checked.

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
    observations::{MOVERS, Observations},
    readers::read,
    verdict,
    writer::{EndQueue, Role, WriterDataplane, write},
};
use crate::domain::{Identity, MESHES, NAMESPACES, Name, settings};

/// Together with the reader more threads than two cores, so that threads are also preempted in the
/// middle of an operation.
const WRITERS: usize = 3;
const READERS: usize = 1;

/// The names of each writer's own dataplanes.
const NAMES: [[Name; 3]; WRITERS] = [["p0", "p1", "p2"], ["q0", "q1", "q2"], ["r0", "r1", "r2"]];

/// The retention in cases where lost dataplanes expire. The paused clock advances whenever its
/// runtime is idle, so they expire soon, at an instant that no writer knows.
const RETENTION: Duration = Duration::from_secs(1);

pub(super) fn run(rng: &mut Rng, clock: &Runtime) {
    let expires = rng.bool();
    let mut settings = RegistrySettings { log_capacity: [1, 3, 16, 1_000][rng.usize(..4)], ..settings() };
    if expires {
        settings.retention = RETENTION;
    }
    // All instants in the registry must come from one clock.
    let _clock = clock.enter();
    let registry = Registry::new(settings);
    let end_queue = EndQueue::default();
    let mut writers: [Vec<WriterDataplane>; WRITERS] = array::from_fn(|writer| dataplanes(writer, rng));
    let mut movers = 0;
    for mover in writers.iter_mut().flatten().filter(|dataplane| dataplane.role == Role::Mover) {
        mover.hello(&registry, &end_queue, rng);
        movers += 1;
    }

    let start = Barrier::new(WRITERS + READERS);
    let done = AtomicBool::new(false);
    let (alive, ended) = mpsc::channel(1);
    let observations: Vec<Observations> = thread::scope(|scope| {
        // Set even when this thread panics, or the reader would never end.
        let set_done = SetOnDrop(&done);
        let (registry, end_queue, start, done) = (&registry, &end_queue, &start, &done);
        let writers = writers.each_mut().map(|dataplanes| {
            let (mut rng, alive) = (rng.fork(), alive.clone());
            scope.spawn(move || {
                let _alive = alive;
                let _clock = clock.enter();
                start.wait();
                write(dataplanes, registry, end_queue, &mut rng);
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
        run_registry(registry, end_queue, expires, clock, ended);
        for writer in writers {
            join(writer);
        }
        drop(set_done);
        readers.into_iter().map(join).collect()
    });
    Observations::assert_consistent(&observations);
    let dataplanes: Vec<_> = writers.iter().flatten().collect();
    verdict::check(&registry, &dataplanes, expires);
}

/// The dataplanes of a writer: two of its own, a mover, and for the first two writers the one that
/// they compete for.
fn dataplanes(writer: usize, rng: &mut Rng) -> Vec<WriterDataplane> {
    let [first, second, mover] = NAMES[writer];
    // Mostly one mesh, or nearly every name would be contested.
    let mut mesh = || MESHES[[0, 0, 0, 0, 1, 2][rng.usize(..6)]];
    let identity = |mesh, namespace, name| Identity { mesh, namespace, name };
    let mut dataplanes = vec![
        WriterDataplane::new(identity(mesh(), NAMESPACES[0], first), Role::Own),
        WriterDataplane::new(identity(mesh(), NAMESPACES[0], second), Role::Own),
        WriterDataplane::new(identity(MESHES[0], MOVERS, mover), Role::Mover),
    ];
    if writer < 2 {
        let contested = identity(MESHES[0], NAMESPACES[0], "contested");
        dataplanes.push(WriterDataplane::new(contested, Role::Contested));
    }
    dataplanes
}

/// Waits for the writers; in a case with expiry, runs the registry's own task meanwhile and until
/// all lost dataplanes have expired.
fn run_registry(
    registry: &Registry,
    end_queue: &EndQueue,
    expires: bool,
    clock: &Runtime,
    mut writers_ended: mpsc::Receiver<()>,
) {
    clock.block_on(async {
        let writers = async {
            writers_ended.recv().await;
            end_queue.end_all();
            if expires {
                sleep(2 * RETENTION).await;
            }
        };
        tokio::select! {
            biased;
            () = registry.run(), if expires => unreachable!("it runs forever"),
            () = writers => {}
        }
    });
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Release);
    }
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
