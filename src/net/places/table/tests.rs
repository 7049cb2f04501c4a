use proptest::{collection::vec, prelude::*};

use super::*;
use crate::net::client_address::client_address;

const SECOND: Duration = Duration::from_secs(1);

/// A table with its clock, and the connections that it has closed.
struct Server {
    table: Table,
    now: Instant,
    open: HashMap<Id, oneshot::Receiver<Closing>>,
}

impl Server {
    fn new(total: usize, per_address: Option<usize>) -> Self {
        let table =
            Table::new(PlaceLimits { total, per_address, unauthenticated_rate: None }, Box::new(drop));
        Self { table, now: Instant::now(), open: HashMap::new() }
    }

    /// A second later, connects a client.
    fn connect(&mut self, ip: &str) -> Result<(Id, Option<Full>), Full> {
        self.now += SECOND;
        let (closing, closed) = oneshot::channel();
        let address = client_address(ip.parse().unwrap());
        let taken = self.table.take(address, closing, self.now)?;
        self.open.insert(taken.0, closed);
        Ok(taken)
    }

    fn id(&mut self, ip: &str) -> Id {
        self.connect(ip).unwrap().0
    }

    /// The connections that were closed since the last call.
    fn closed(&mut self) -> Vec<(Id, Closing)> {
        let mut closed: Vec<_> =
            self.open.iter_mut().filter_map(|(id, closed)| Some((*id, closed.try_recv().ok()?))).collect();
        closed.sort_by_key(|(id, _)| *id);
        for (id, _) in &closed {
            self.open.remove(id);
        }
        closed
    }
}

#[test]
fn at_the_total_the_oldest_connection_that_is_not_in_use_is_replaced() {
    let mut server = Server::new(3, Some(3));
    let [busy, silent, talks] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| server.id(ip));
    server.table.begin_use(busy);
    let (fourth, full) = server.connect("10.0.0.4").unwrap();
    assert_eq!((full, server.closed()), (Some(Full::Total), vec![(silent, Closing::Replaced)]));
    server.now += SECOND;
    server.table.touch(talks, server.now);
    assert!(server.connect("10.0.0.5").is_ok());
    assert_eq!(server.closed(), [(fourth, Closing::Replaced)], "`talks` was active later");
}

#[test]
fn if_all_are_in_use_a_new_one_is_refused() {
    let mut server = Server::new(2, None);
    let ids = ["10.0.0.1", "10.0.0.2"].map(|ip| server.id(ip));
    for id in ids {
        server.table.begin_use(id);
        server.table.begin_use(id);
        server.table.end_use(id, server.now);
    }
    assert_eq!(server.connect("10.0.0.3"), Err(Full::Total));
    server.table.end_use(ids[1], server.now);
    assert!(server.connect("10.0.0.3").is_ok());
    assert_eq!(server.closed(), [(ids[1], Closing::Replaced)]);
}

#[test]
fn an_address_at_its_limit_replaces_its_own_connections_only() {
    let mut server = Server::new(100, Some(2));
    let other = server.id("10.0.0.9");
    let [first, second] = ["10.0.0.1"; 2].map(|ip| server.id(ip));
    let (third, full) = server.connect("10.0.0.1").unwrap();
    assert_eq!((full, server.closed()), (Some(Full::Address), vec![(first, Closing::Replaced)]));
    server.table.begin_use(second);
    server.table.begin_use(third);
    assert_eq!(server.connect("10.0.0.1"), Err(Full::Address));
    assert!(server.connect("10.0.0.2").is_ok() && server.open.contains_key(&other));
    server.table.remove(second, server.now);
    assert_eq!(server.connect("10.0.0.1").map(|(_, full)| full), Ok(None), "a place is free again");
}

#[test]
fn the_default_limit_of_an_address_is_half_of_all_and_none_for_this_machine() {
    let mut server = Server::new(4, None);
    for (ip, full) in [
        ("2001:db8:1:2::1", None),
        ("2001:db8:1:2::ffff", None),
        ("2001:db8:1:2:3::", Some(Full::Address)),
        ("2001:db8:1:3::1", None),
        ("::ffff:10.0.0.1", None),
        ("10.0.0.1", Some(Full::Total)),
        ("10.0.0.1", Some(Full::Address)),
    ] {
        assert_eq!(server.connect(ip).unwrap().1, full, "{ip}");
    }
    let mut server = Server::new(4, None);
    for _ in 0..4 {
        assert_eq!(server.connect("127.0.0.1").unwrap().1, None);
    }
    assert_eq!(server.connect("127.0.0.1").unwrap().1, Some(Full::Total));
}

#[test]
fn known_clients_do_not_count_for_their_address_and_are_replaced_last() {
    let mut server = Server::new(3, Some(1));
    let known = ["10.0.0.1"; 2].map(|ip| {
        let id = server.id(ip);
        server.table.known(id);
        server.table.known(id);
        id
    });
    let unknown = server.id("10.0.0.1");
    assert!(server.closed().is_empty());
    let (next, full) = server.connect("10.0.0.2").unwrap();
    assert_eq!((full, server.closed()), (Some(Full::Total), vec![(unknown, Closing::Replaced)]));
    server.table.begin_use(next);
    assert!(server.connect("10.0.0.3").is_ok());
    assert_eq!(server.closed(), [(known[0], Closing::Replaced)]);
}

#[test]
fn idle_connections_are_closed_after_the_timeout() {
    let mut server = Server::new(10, None);
    let [first, second, third] = ["10.0.0.1"; 3].map(|ip| server.id(ip));
    server.table.begin_use(second);
    server.table.known(third);
    let start = server.now;
    assert_eq!(server.table.close_idle(start, 3 * SECOND), Some(start - 2 * SECOND));
    assert_eq!(server.table.close_idle(start + SECOND, 3 * SECOND), Some(start));
    assert_eq!(server.closed(), [(first, Closing::Idle)]);
    assert_eq!(server.table.close_idle(start + 3 * SECOND, 3 * SECOND), None);
    assert_eq!(server.closed(), [(third, Closing::Idle)]);
    server.table.end_use(second, start + 4 * SECOND);
    assert_eq!(server.table.close_idle(start + 6 * SECOND, 3 * SECOND), Some(start + 4 * SECOND));
}

#[derive(Debug, Clone)]
enum Op {
    Connect(u8),
    Begin(u64),
    End(u64),
    Touch(u64),
    Known(u64),
    Remove(u64),
    CloseIdle,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let id = || 1_u64..40;
    let op = prop_oneof![
        4 => (0_u8..4).prop_map(Op::Connect),
        2 => id().prop_map(Op::Begin),
        2 => id().prop_map(Op::End),
        1 => id().prop_map(Op::Touch),
        1 => id().prop_map(Op::Known),
        1 => id().prop_map(Op::Remove),
        1 => Just(Op::CloseIdle),
    ];
    vec(op, 0..120)
}

proptest! {
    /// Whatever happens, the limits hold, no connection in use is closed, and the parts of the
    /// table agree.
    #[test]
    fn limits_hold_and_the_parts_of_the_table_agree(ops in ops()) {
        let mut server = Server::new(6, Some(3));
        for op in ops {
            let used: Vec<_> =
                server.table.connections.iter().filter(|(_, c)| c.uses > 0).map(|(id, _)| *id).collect();
            match op {
                Op::Connect(host) => drop(server.connect(&format!("10.0.0.{host}"))),
                Op::Begin(id) => server.table.begin_use(id),
                Op::End(id) if used.contains(&id) => server.table.end_use(id, server.now),
                Op::End(_) => {}
                Op::Touch(id) => server.table.touch(id, server.now),
                Op::Known(id) => server.table.known(id),
                Op::Remove(id) => {
                    server.table.remove(id, server.now);
                    server.open.remove(&id);
                }
                Op::CloseIdle => drop(server.table.close_idle(server.now, 20 * SECOND)),
            }
            for (id, _) in server.closed() {
                prop_assert!(!used.contains(&id), "a connection in use was closed");
            }
            let Table { connections, addresses, unknown, known, .. } = &server.table;
            prop_assert!(connections.len() <= 6);
            let idle = |of_known| connections.values().filter(|c| c.uses == 0 && c.known == of_known).count();
            prop_assert_eq!((unknown.len(), known.len()), (idle(false), idle(true)));
            for (address, own) in addresses {
                let counted = connections.values().filter(|c| c.address == *address && !c.known);
                prop_assert!(own.connections <= 3 && own.connections == counted.clone().count());
                prop_assert_eq!(own.closable.len(), counted.filter(|c| c.uses == 0).count());
            }
        }
    }
}

#[test]
fn a_connection_that_ends_without_an_authenticated_caller_counts_against_its_address() {
    use Unauthenticated::{NoCaller, NoRequest, Refused};
    let (sender, counted) = std::sync::mpsc::channel();
    let limits = PlaceLimits { total: 100, per_address: None, unauthenticated_rate: Some(1) };
    let mut server = Server::new(2, None);
    server.table = Table::new(limits, Box::new(move |why| sender.send(why).unwrap()));
    let ip: IpAddr = "10.0.0.1".parse().unwrap();
    let [silent, asks, known] = ["10.0.0.1", "10.0.0.1", "10.0.0.1"].map(|ip| server.id(ip));
    server.table.begin_use(asks);
    server.table.end_use(asks, server.now);
    server.table.begin_use(known);
    server.table.authenticated(known);
    server.table.authenticated(known);
    server.table.end_use(known, server.now);
    server.table.remove(silent, server.now);
    for id in [asks, known, known, asks] {
        server.table.remove(id, server.now);
    }
    assert_eq!(counted.try_iter().collect::<Vec<_>>(), [NoRequest, NoCaller], "each once");
    for _ in 2..10 {
        assert_eq!(server.table.check(ip, server.now), Ok(()));
        let (closing, _closed) = oneshot::channel();
        let (id, _) = server.table.take(ip, closing, server.now).unwrap();
        server.table.touch(id, server.now);
        server.table.remove(id, server.now);
    }
    assert_eq!(counted.try_iter().collect::<Vec<_>>(), [NoCaller; 8]);
    assert_eq!(server.table.check(ip, server.now), Err(Some(1)));
    assert_eq!(counted.try_iter().collect::<Vec<_>>(), [Refused]);
    assert_eq!(server.table.check("10.0.0.2".parse().unwrap(), server.now), Ok(()));
    assert_eq!(server.table.check(ip, server.now + SECOND), Ok(()));
}
