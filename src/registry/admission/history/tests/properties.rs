//! Random sequences of hellos, losses and pauses.

use proptest::{collection::vec, prelude::*};

use super::*;

/// An event in the life of a dataplane, with random clients.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// A new agent process (none: an Envoy) with this number opens a session, or tries again.
    Hello {
        agent: bool,
        number: u8,
    },
    /// The oldest hello that waits, or was held off, is decided again.
    Again,
    Message,
    Lose,
    Goodbye,
    Advance {
        millis: u32,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (any::<bool>(), 0..5_u8).prop_map(|(agent, number)| Op::Hello { agent, number }),
        3 => Just(Op::Again),
        2 => Just(Op::Message),
        2 => Just(Op::Lose),
        1 => Just(Op::Goodbye),
        4 => prop_oneof![0..200_u32, 0..20_000_u32, 50_000..70_000_u32].prop_map(|millis| Op::Advance { millis }),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_rules_hold(ops in vec(op(), 1..100)) {
        let (mut f, mut attempts) = (Fixture::new(), 0);
        let (mut pending, mut takeovers, mut last_connect) = (Vec::<Hello>::new(), Vec::new(), None);
        for op in ops {
            let hello = match op {
                Op::Hello { agent, number } => {
                    attempts += 1;
                    let client = if agent {
                        attempt(u64::from(number) + 1, attempts)
                    } else {
                        connection(u16::from(number) + 1)
                    };
                    f.hello(client)
                }
                Op::Again if !pending.is_empty() => pending.remove(0),
                Op::Again => continue,
                Op::Message => {
                    if let Some(present) = f.present() {
                        present.activity += 1;
                    }
                    continue;
                }
                Op::Lose => {
                    if f.known.is_some() {
                        f.lose();
                    }
                    continue;
                }
                Op::Goodbye => {
                    if f.present().is_some() {
                        f.goodbye();
                    }
                    continue;
                }
                Op::Advance { millis } => {
                    f.now += Duration::from_millis(millis.into());
                    continue;
                }
            };
            let (client, present) = (hello.client, f.present().map(|present| present.client));
            let other = present.filter(|present| client.differs_from(*present));
            match f.admit(hello) {
                Ok(()) => {
                    prop_assert!(last_connect.is_none_or(|at| f.now >= at + INTERVAL), "two connects in an interval");
                    last_connect = Some(f.now);
                    if other.is_some() {
                        takeovers.push((f.now, client));
                        let recent = takeovers.iter().filter(|(at, _)| *at + MEMORY > f.now).count();
                        let most = if client.attempt.instance == 0 { TAKEOVERS_BY_CONNECTIONS } else { TAKEOVERS_BY_AGENTS };
                        prop_assert!(recent <= most, "{recent} takeovers in a minute: {takeovers:?}");
                    }
                }
                Err(NotAdmitted::HeldOff(held)) => {
                    prop_assert_eq!(Some(held.present), other, "only while another client is connected");
                    prop_assert!((MIN_RETRY_AFTER..=MAX_RETRY_AFTER).contains(&held.retry_after));
                    pending.push(Hello { stage: Stage::HeldOff, ..hello });
                }
                Err(NotAdmitted::Wait(until)) => {
                    prop_assert!(f.now < until && until <= f.now + INTERVAL && hello.stage != Stage::Waited);
                    f.now = until;
                    pending.push(Hello { stage: Stage::Waited, ..hello });
                }
                Err(NotAdmitted::Superseded) => prop_assert!(
                    hello.stage != Stage::New || client.attempt.instance != 0,
                    "a new hello of an Envoy is never stale"
                ),
                Err(NotAdmitted::Limit(_) | NotAdmitted::NotOwner) => unreachable!(),
            }
        }
        prop_assert!(f.history.former.len() <= MAX_FORMER);
    }
}
