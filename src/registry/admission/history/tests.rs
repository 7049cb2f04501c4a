mod properties;

use super::*;

const INTERVAL: Duration = Duration::from_millis(100);

/// A dataplane with its history: what the registry does with the decisions.
struct Fixture {
    history: History,
    known: Option<Known>,
    now: Instant,
    hellos: u64,
}

impl Fixture {
    fn new() -> Self {
        Self { history: History::default(), known: None, now: Instant::now(), hellos: 0 }
    }

    fn hello(&mut self, client: Client) -> Hello {
        self.hellos += 1;
        Hello { id: self.hellos, client, stage: Stage::New }
    }

    fn admit(&mut self, hello: Hello) -> Result<(), NotAdmitted> {
        if self.history.expires_at().is_some_and(|expires_at| expires_at <= self.now) {
            self.history = History::default();
        }
        self.history.admit(&hello, self.known.as_ref(), INTERVAL, self.now)?;
        self.history.connect(hello.client, self.known.as_ref(), self.now);
        let present = Present { client: hello.client, activity: 0 };
        let attempt = hello.client.attempt;
        self.known = Some(Known { attempt, opened: self.now, present: Some(present) });
        Ok(())
    }

    /// A hello that arrives a second later.
    fn connect(&mut self, client: Client) -> Result<(), NotAdmitted> {
        self.now += Duration::from_secs(1);
        let hello = self.hello(client);
        self.admit(hello)
    }

    fn held_off(&mut self, client: Client) -> HoldOff {
        match self.connect(client) {
            Err(NotAdmitted::HeldOff(held)) => held,
            other => panic!("{client}: {other:?}"),
        }
    }

    fn present(&mut self) -> Option<&mut Present> {
        self.known.as_mut()?.present.as_mut()
    }

    /// The client that is connected sends a message.
    fn message(&mut self) {
        self.present().expect("a session").activity += 1;
    }

    /// The open session is lost.
    fn lose(&mut self) {
        self.known.as_mut().expect("registered").present = None;
    }

    /// The open session ends with a goodbye.
    fn goodbye(&mut self) {
        let known = self.known.take().expect("registered");
        self.history.depart(known.attempt, known.opened, self.now);
    }
}

fn agent(instance: u64) -> Client {
    Client { attempt: Attempt { instance, number: 1 }, peer: None }
}

fn attempt(instance: u64, number: u32) -> Client {
    Client { attempt: Attempt { instance, number }, peer: None }
}

fn connection(port: u16) -> Client {
    Client { attempt: Attempt::default(), peer: Some(([10, 0, 0, 1], port).into()) }
}

#[test]
fn a_dataplane_without_takeovers_has_no_history() {
    let mut f = Fixture::new();
    for number in 1..100 {
        f.connect(attempt(7, number)).unwrap();
        if number % 3 == 0 {
            f.lose();
        }
    }
    assert_eq!(f.history.expires_at(), None);
}

/// The network may deliver a hello of a process that has crashed after its successor has connected.
#[test]
fn an_agent_that_was_lost_does_not_take_over_from_its_successor() {
    let mut f = Fixture::new();
    f.connect(attempt(1, 2)).unwrap();
    f.lose();
    f.connect(agent(2)).unwrap();
    f.held_off(attempt(1, 3));
    f.connect(agent(3)).expect("the first takeover");
}

#[test]
fn an_agent_that_crashes_in_a_loop_is_always_admitted() {
    let mut f = Fixture::new();
    for instance in 1..100 {
        f.connect(agent(instance)).unwrap();
        f.lose();
    }
    assert_eq!(f.history.former.len(), MAX_FORMER);
    // Takeovers count for a minute, even if the history lasts longer.
    f.connect(agent(100)).unwrap();
    f.connect(agent(101)).expect("the first takeover");
    for instance in 102..170 {
        f.lose();
        f.connect(agent(instance)).unwrap();
    }
    f.connect(agent(170)).expect("the first takeover in a minute");
}

#[test]
fn the_first_takeover_is_immediate_and_an_envoy_that_returns_is_held_off() {
    let mut f = Fixture::new();
    f.connect(connection(1)).unwrap();
    f.connect(connection(2)).unwrap();
    assert_eq!(f.held_off(connection(1)).present, connection(2));
    f.connect(connection(2)).expect("the Envoy that is connected may open another stream");
    // It is held off for as long as it tries: longer than the history lasts.
    for _ in 0..600 {
        f.held_off(connection(1));
    }
    f.lose();
    f.connect(connection(1)).expect("the other one has gone");
}

#[test]
fn the_second_restarted_agent_is_held_off() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    f.connect(agent(2)).expect("the server may not know yet that the first one is dead");
    assert_eq!(f.held_off(agent(3)).present, agent(2));
    f.goodbye();
    f.connect(agent(3)).expect("the other one has left");
    f.held_off(agent(4));
    f.now += MEMORY;
    f.connect(agent(4)).expect("that was long ago");
}

#[test]
fn an_agent_that_reconnects_is_never_held_off() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    for number in 1..50 {
        f.connect(attempt(2, number)).unwrap();
    }
    assert_eq!((f.history.former, f.history.takeovers.0), (vec![agent(1)], 1));
}

#[test]
fn takeovers_that_no_longer_count_do_not_count_again_with_a_hold_off() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    f.connect(agent(2)).expect("the first takeover");
    f.now += MEMORY / 2;
    f.lose();
    f.connect(agent(3)).expect("the other one is lost");
    f.now += MEMORY * 2 / 3;
    f.held_off(agent(2));
    f.connect(agent(4)).expect("the first takeover in a minute");
}

/// A new connection may be the same Envoy after a fault of the network.
#[test]
fn new_connections_take_over_three_times_a_minute() {
    let mut f = Fixture::new();
    for port in 1..=4 {
        f.connect(connection(port)).unwrap();
    }
    f.held_off(connection(5));
    f.now += MEMORY;
    f.connect(connection(6)).unwrap();
}

#[test]
fn an_agent_and_an_envoy_replace_each_other_once() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    f.connect(connection(1)).unwrap();
    f.held_off(agent(2));
    let mut f = Fixture::new();
    f.connect(connection(1)).unwrap();
    f.connect(agent(1)).unwrap();
    f.held_off(connection(1));
}

#[test]
fn clients_of_unknown_addresses_are_never_held_off() {
    let mut f = Fixture::new();
    for _ in 0..100 {
        f.connect(Client::default()).unwrap();
    }
}

#[test]
fn retry_delays_grow_to_a_limit_and_start_again_with_the_next_conflict() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    f.connect(agent(2)).unwrap();
    let seconds = |f: &mut Fixture| f.held_off(agent(3)).retry_after.as_secs();
    let delays: Vec<_> = (0..3).map(|_| seconds(&mut f)).collect();
    assert_eq!(delays, [1, 2, 2], "the other one may be dead");
    f.message();
    assert_eq!(seconds(&mut f), 8, "it lives");
    f.connect(attempt(2, 2)).unwrap();
    assert_eq!(seconds(&mut f), 1);
}

/// Three processes of one identity, of which two crash unnoticed: the server detects the second
/// crash when the session's heartbeats are missing.
#[test]
fn the_replacement_of_a_crashed_agent_connects_soon_after_the_crash_is_detected() {
    for detected_after in (0..90).map(|tenths| Duration::from_millis(100 * tenths)) {
        let mut f = Fixture::new();
        f.connect(agent(1)).unwrap();
        f.connect(agent(2)).unwrap();
        let crashed = f.now;
        loop {
            let hello = f.hello(agent(3));
            match f.admit(hello) {
                Err(NotAdmitted::HeldOff(held)) => f.now += held.retry_after,
                Err(NotAdmitted::Wait(until)) => f.now = until,
                other => break other.expect("admitted"),
            }
            if f.now >= crashed + detected_after && f.present().is_some() {
                f.lose();
            }
        }
        let waited = f.now - crashed;
        assert!(waited <= detected_after + MAX_RETRY_AFTER_UNSURE, "{waited:?} of {detected_after:?}");
    }
}

#[test]
fn a_check_of_a_stream_that_is_held_off_is_no_attempt() {
    let mut f = Fixture::new();
    f.connect(connection(1)).unwrap();
    f.connect(connection(2)).unwrap();
    let mut hello = f.hello(connection(1));
    for _ in 0..10 {
        let held = f.admit(hello);
        assert!(
            matches!(&held, Err(NotAdmitted::HeldOff(held)) if held.retry_after == MIN_RETRY_AFTER),
            "{held:?}"
        );
        hello.stage = Stage::HeldOff;
    }
}

#[test]
fn a_conflict_is_reported_once_both_live_and_not_too_often() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    f.connect(agent(2)).unwrap();
    f.message();
    assert!(!f.held_off(agent(3)).report, "the message was earlier");
    assert!(!f.held_off(agent(3)).report, "the other one may be dead");
    f.message();
    assert!(f.held_off(agent(3)).report);
    f.message();
    assert!(!f.held_off(agent(3)).report, "it has just been reported");
    f.now += REPORT_INTERVAL;
    assert!(f.held_off(agent(3)).report);
}

#[test]
fn a_silent_session_lives_if_it_outlasts_the_detection_of_dead_peers() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    f.connect(agent(2)).unwrap();
    assert!(!f.held_off(agent(3)).report);
    f.now += ALIVE_AFTER.saturating_sub(Duration::from_secs(2));
    assert!(!f.held_off(agent(3)).report);
    assert!(f.held_off(agent(3)).report);
}

#[test]
fn of_the_hellos_that_wait_the_newest_connects() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    let opened = f.now;
    let mut waiting: Vec<_> = (2..102).map(|instance| f.hello(agent(instance))).collect();
    for hello in &mut waiting {
        assert_eq!(f.admit(*hello), Err(NotAdmitted::Wait(opened + INTERVAL)));
        hello.stage = Stage::Waited;
    }
    f.now += INTERVAL;
    let newest = waiting.pop().unwrap();
    assert_eq!(f.admit(waiting[0]), Err(NotAdmitted::Superseded), "before the newest has connected");
    f.admit(newest).unwrap();
    for hello in waiting {
        assert_eq!(f.admit(hello), Err(NotAdmitted::Superseded));
    }
    assert_eq!(f.known.unwrap().present.unwrap().client, agent(101));
}

#[test]
fn a_hello_that_is_cancelled_replaces_no_other() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    let [mut older, newer] = [agent(2), agent(3)].map(|client| f.hello(client));
    assert!(f.admit(older).is_err() && f.admit(newer).is_err());
    f.history.cancel(newer.id);
    f.now += INTERVAL;
    older.stage = Stage::Waited;
    f.admit(older).unwrap();
}

#[test]
fn a_hello_that_arrives_in_time_connects_before_one_that_has_waited() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    let mut waited = f.hello(agent(2));
    f.admit(waited).unwrap_err();
    f.now += INTERVAL;
    waited.stage = Stage::Waited;
    let newest = f.hello(agent(3));
    f.admit(newest).unwrap();
    assert_eq!(f.admit(waited), Err(NotAdmitted::Superseded));
}

#[test]
fn a_stale_attempt_neither_connects_nor_replaces_one_that_waits() {
    let mut f = Fixture::new();
    f.connect(attempt(1, 2)).unwrap();
    assert_eq!(f.connect(attempt(1, 1)), Err(NotAdmitted::Superseded), "one is connected");
    f.lose();
    assert_eq!(f.connect(attempt(1, 1)), Err(NotAdmitted::Superseded), "one was lost");
    f.connect(attempt(1, 3)).unwrap();
    let [mut waiting, stale] = [attempt(2, 9), attempt(2, 8)].map(|client| f.hello(client));
    f.admit(waiting).unwrap_err();
    assert_eq!(f.admit(stale), Err(NotAdmitted::Superseded), "one waits");
    f.now += INTERVAL;
    waiting.stage = Stage::Waited;
    f.admit(waiting).unwrap();
    f.goodbye();
    assert_eq!(f.connect(attempt(2, 8)), Err(NotAdmitted::Superseded), "one has left");
    f.now += MEMORY;
    f.connect(attempt(2, 8)).expect("that was long ago");
}

#[test]
fn a_dataplane_that_leaves_and_returns_waits_too() {
    let mut f = Fixture::new();
    f.connect(agent(1)).unwrap();
    let opened = f.now;
    f.goodbye();
    let again = f.hello(agent(1));
    assert_eq!(f.admit(again), Err(NotAdmitted::Wait(opened + INTERVAL)));
}
