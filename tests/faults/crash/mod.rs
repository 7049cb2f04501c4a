//! `kill -9` at random moments of a server that keeps its registrations, while clients register, move,
//! lose and unregister dataplanes.
//!
//! Each client remembers which of its steps the server has confirmed, and when. After each kill, the
//! restarted server is compared with these histories before a client is back.

mod client;
mod history;
mod listing;
mod stalls;

use std::time::{Duration, Instant};

use fastrand::Rng;
use headcount::proto::Hello;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{client::Client, history::State, listing::Listing, stalls::Stalls};
use crate::{
    BOUND, count,
    fleet::CountsByWorkload,
    session::Session,
    support::{DEADLINE, Server, Signal, dataplane},
    verifier::Verifier,
};

const CLIENTS: usize = 80;
/// Clients that stay connected, so that their Workloads live from the first to the last kill.
const STEADY: usize = 16;
const STEADY_WORKLOADS: usize = 4;
/// Workloads of the other clients. They are few per Workload, so that some Workloads lose all.
const WORKLOADS: usize = 24;
/// Clients that share a connection.
const CLIENTS_PER_CONNECTION: usize = 8;
/// What a crash may lose, as documented.
const WINDOW: Duration = Duration::from_millis(100);
/// A batch of changes is synced to disk twice, and can only begin after the one before.
const SYNCS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_has_lost_only_the_last_100_ms() {
    let seed = count("HEADCOUNT_FAULT_SEED", fastrand::usize(..1_000_000));
    println!("HEADCOUNT_FAULT_SEED={seed}");
    let mut random = Rng::with_seed(seed as u64);
    let mut server = Server::start_durable("").await;
    let mut clients = clients(&server, &mut random);
    let mut verifier = Verifier::new(server.grpc, server.http);
    let stalls = Stalls::measure(&server.site.path("stalls"));
    for kill in 1..=count("HEADCOUNT_FAULT_CRASHES", 5) {
        let (after, killed) = act_until(Signal::KILL, &mut server, &mut clients, &mut random).await;
        let late = stalls.longest();
        // The next process may be killed as well, at any moment of its start.
        let killed_again = random.u8(..3) == 0;
        if killed_again {
            let mut starting = server.launch();
            sleep(Duration::from_millis(random.u64(..200))).await;
            starting.signal(Signal::KILL);
            assert_eq!(starting.exited().await, None, "killed by a signal");
        }
        let start = Instant::now();
        server.start_again().await;
        let (started, listing) = (start.elapsed(), Listing::read(&server).await);
        let lost = listing.check(&clients, killed, WINDOW + SYNCS * late);
        clients = come_back(clients, &listing).await;
        verifier.expect(&format!("kill {kill}, clients are back"), &expected(&clients), BOUND).await;
        println!(
            "kill {kill}: after {after} actions; killed again while it started: {killed_again}; serving after \
             {started:.0?}; lost the last {lost:.1?}; disk and scheduler were up to {late:.1?} late"
        );
    }
}

/// The last batch is stored at the end of the drain, so nothing at all is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_server_has_lost_nothing() {
    let mut random = Rng::new();
    let mut server = Server::start_durable("").await;
    let mut clients = clients(&server, &mut random);
    act_until(Signal::TERM, &mut server, &mut clients, &mut random).await;
    let ended = Instant::now();
    server.start_again().await;
    Listing::read(&server).await.check(&clients, ended, Duration::ZERO);
}

/// No session is open, so the drain ends before the next batch would be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quick_drain_stores_the_last_batch() {
    let mut server = Server::start_durable("").await;
    let channel = server.connect().await;
    for number in 0..20 {
        let dataplane = Some(dataplane("default", "web", &format!("proxy-{number}")));
        let session = Session::open(channel.clone(), Hello { dataplane, ..Hello::default() }).await;
        session.expect("a session").close().await.expect("the end of the session");
    }
    drop(channel);
    server.restart(Signal::TERM).await.expect_exit(0);
    server.wait_for_counts("web", [0, 0, 20]).await;
}

fn clients(server: &Server, random: &mut Rng) -> Vec<Client> {
    let mut channel = server.endpoint().connect_lazy();
    let new = |number: usize| {
        if number.is_multiple_of(CLIENTS_PER_CONNECTION) {
            channel = server.endpoint().connect_lazy();
        }
        let workloads = match number {
            ..STEADY => vec![format!("steady-{}", number % STEADY_WORKLOADS)],
            _ => (0..WORKLOADS).map(|number| format!("web-{number}")).collect(),
        };
        Client::new(format!("proxy-{number}"), workloads, channel.clone(), random.fork())
    };
    (0..CLIENTS).map(new).collect()
}

/// Lets the clients act, and ends the server by a signal at a random moment. Returns the number of actions
/// and when the signal was sent.
async fn act_until(
    signal: Signal,
    server: &mut Server,
    clients: &mut Vec<Client>,
    random: &mut Rng,
) -> (usize, Instant) {
    let (acted, mut actions) = watch::channel(0);
    let mut acting = JoinSet::new();
    for client in clients.drain(..) {
        acting.spawn(client.act(acted.clone()));
    }
    let least = random.usize(..1_500);
    let reached = timeout(DEADLINE, actions.wait_for(|actions| *actions >= least)).await;
    reached.expect("actions in time").expect("clients");
    // Not only just after an action.
    sleep(Duration::from_micros(random.u64(..50_000))).await;
    let signalled = Instant::now();
    let ended = server.stop(signal).await;
    for problem in ["panicked", "can't be decoded", "can't be stored"] {
        assert!(!ended.err.contains(problem), "{ended}");
    }
    clients.extend(acting.join_all().await);
    (*actions.borrow(), signalled)
}

/// Opens new sessions for the clients that had one.
async fn come_back(clients: Vec<Client>, listing: &Listing) -> Vec<Client> {
    let mut returning = JoinSet::new();
    for client in clients {
        let found = listing.registration(&client.name).cloned();
        returning.spawn(client.come_back(found));
    }
    returning.join_all().await
}

/// The counts of these clients, all of which are ready.
fn expected(clients: &[Client]) -> CountsByWorkload {
    let mut expected = CountsByWorkload::new();
    for state in clients.iter().map(|client| client.history.last()) {
        if let Some(registration) = state.registration() {
            let [connected, healthy, total] = expected.entry(registration.workload.clone()).or_default();
            *connected += u32::from(matches!(state, State::Connected(_)));
            *healthy = *connected;
            *total += 1;
        }
    }
    expected
}
