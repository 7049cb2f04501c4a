//! The client's side of a watch with keep-alives.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::{WatchEventsResponse, WatchWorkloadsResponse};

/// The keepalive interval for requests of watches. With [`LONGEST_DELAY`] it is below 10 s, the
/// documented time within which a failure is detected.
pub const KEEPALIVE_INTERVAL: prost_types::Duration = prost_types::Duration { seconds: 5, nanos: 0 };
/// How much later than the interval a message may arrive.
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// The responses of a watch. It fails if the server has confirmed a keepalive interval and then
/// sends nothing for longer: the server or the path to it has failed, although something on the way
/// may keep the connection alive.
#[derive(Debug)]
pub struct WatchStream<M> {
    messages: Streaming<M>,
    longest_silence: Option<Duration>,
}

/// A response that may confirm a keepalive interval.
pub trait WatchResponse {
    /// The confirmed interval.
    fn keepalive_interval(&self) -> Option<prost_types::Duration>;
}

impl<M: WatchResponse> WatchStream<M> {
    /// Wraps the stream of a request with a keepalive interval.
    pub fn new(messages: Streaming<M>) -> Self {
        Self { messages, longest_silence: None }
    }

    /// Waits for the next message; none at the end of the stream. The response that confirms the
    /// interval is not returned.
    ///
    /// # Errors
    ///
    /// The status of the stream, or `UNAVAILABLE` if a keep-alive is missing.
    pub async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            let next = self.messages.message();
            let message = match self.longest_silence {
                None => next.await?,
                Some(limit) => timeout(limit, next).await.map_err(|_| missing(limit))??,
            };
            let Some(interval) = message.as_ref().and_then(WatchResponse::keepalive_interval) else {
                return Ok(message);
            };
            let interval = Duration::try_from(interval).unwrap_or(Duration::MAX);
            self.longest_silence = Some(interval.saturating_add(LONGEST_DELAY));
        }
    }
}

fn missing(limit: Duration) -> Status {
    Status::unavailable(format!("the server sent nothing within {limit:?}"))
}

impl WatchResponse for WatchWorkloadsResponse {
    fn keepalive_interval(&self) -> Option<prost_types::Duration> {
        self.keepalive_interval
    }
}

impl WatchResponse for WatchEventsResponse {
    fn keepalive_interval(&self) -> Option<prost_types::Duration> {
        self.keepalive_interval
    }
}
