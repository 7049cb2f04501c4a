//! Sends a fresh token over an open session, so that the session outlives the token that opened it.

use std::{
    future::pending,
    pin::Pin,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::debug;

use crate::{
    net::client::{ConnectProblem, Connection, Token},
    runtime::resettable_timer::ResettableTimer,
};

/// Longest time between two reads of the token file.
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);
/// Shortest time between two reads.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the token file of a session, and sends each new token.
pub(super) struct CredentialRefresh {
    connection: Connection,
    /// The token that the server has.
    sent: Token,
    /// When the ack is awaited of a credential, the time at which it was sent.
    in_flight: Option<Instant>,
    check_at: Instant,
    timer: ResettableTimer,
    /// A read that has begun. It is kept here because the caller may drop [`Self::fresh`].
    reading: Option<Pin<Box<Read>>>,
}

type Read = dyn Future<Output = Result<Option<Token>, ConnectProblem>> + Send;

impl CredentialRefresh {
    /// Of a session that was opened with the token `sent`.
    pub(super) fn new(connection: Connection, sent: Token) -> Self {
        let check_at = next_check(&sent);
        Self { connection, sent, in_flight: None, check_at, timer: ResettableTimer::default(), reading: None }
    }

    /// Waits for a token other than the one that the server has; never returns while an ack is awaited.
    /// Dropping the future loses nothing.
    pub(super) async fn fresh(&mut self) -> Token {
        if self.in_flight.is_some() {
            return pending().await;
        }
        loop {
            if self.reading.is_none() {
                self.timer.sleep_until(Some(self.check_at)).await;
            }
            let connection = &self.connection;
            let reading = self.reading.get_or_insert_with(|| {
                let connection = connection.clone();
                Box::pin(async move { connection.token().await })
            });
            let read = reading.await;
            self.reading = None;
            match read {
                Ok(Some(token)) => {
                    self.check_at = next_check(&token);
                    if token != self.sent {
                        return token;
                    }
                }
                other => {
                    // The file may be being replaced. If it stays like this, the next connection reports it.
                    self.check_at = Instant::now() + SHORTEST_INTERVAL;
                    debug!(problem = ?other.err(), "can't read the token file");
                }
            }
        }
    }

    /// Records that `token` was sent.
    pub(super) fn sent(&mut self, token: Token, now: Instant) {
        self.sent = token;
        self.in_flight = Some(now);
    }

    /// Records the ack.
    pub(super) fn acked(&mut self) {
        self.in_flight = None;
    }

    /// When the credential was sent whose ack is awaited.
    pub(super) fn sent_at(&self) -> Option<Instant> {
        self.in_flight
    }
}

fn next_check(token: &Token) -> Instant {
    let left = token.expires_at().map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
    Instant::now() + interval(left)
}

/// The time until the file is read again, for a token that expires after `left`: a fifth of that, so that
/// a token that is replaced at 80 % of its life, as kubelet does, is found well before the end of the old
/// one.
fn interval(left: Option<Duration>) -> Duration {
    left.map_or(LONGEST_INTERVAL, |left| (left / 5).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_replaced_at_80_percent_of_its_life_is_found_before_its_end() {
        for life in [20, 60, 600, 3_600, 86_400] {
            let life = Duration::from_secs(life);
            let mut at = Duration::ZERO;
            while at < life.mul_f64(0.8) {
                at += interval(life.checked_sub(at));
            }
            assert!(at < life.mul_f64(0.91), "{life:?}: {at:?}");
        }
    }

    #[test]
    fn the_file_is_read_each_minute_and_at_most_each_second() {
        let seconds = |left| interval(left).as_secs();
        assert_eq!(seconds(None), 60);
        for (left, expected) in [(86_400, 60), (100, 20), (3, 1), (0, 1)] {
            assert_eq!(seconds(Some(Duration::from_secs(left))), expected);
        }
    }
}
