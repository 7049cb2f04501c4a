//! The client's side of a watch with keep-alives.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use super::{WatchEventsResponse, WatchWorkloadsResponse};

/// The keepalive interval for requests of watches. With the 3 s that a message may be late it is below 10 s, the
/// documented time within which a failure is detected.
pub const KEEPALIVE_INTERVAL: prost_types::Duration = prost_types::Duration { seconds: 5, nanos: 0 };
/// How much later than the interval a message may arrive.
const LONGEST_DELAY: Duration = Duration::from_secs(3);

/// Longest time until the response begins, and from then until its first message, which confirms
/// the interval.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// The responses of a watch with a keepalive interval. It fails if the server sends nothing for
/// longer: the server or the path to it has failed, although something on the way may keep the
/// connection alive. An older server does not confirm the interval with its first message; the
/// stream then waits for its messages without a limit.
#[derive(Debug)]
pub struct WatchStream<M> {
    messages: Streaming<M>,
    /// Whether the first message has arrived.
    is_open: bool,
    /// Until the first message [`OPEN_TIMEOUT`], then none without a confirmed interval.
    longest_silence: Option<Duration>,
}

/// A response that may confirm a keepalive interval.
pub trait WatchResponse {
    /// The confirmed interval.
    fn keepalive_interval(&self) -> Option<prost_types::Duration>;
}

impl<M: WatchResponse> WatchStream<M> {
    /// Calls a method with a request that has a keepalive interval.
    ///
    /// # Errors
    ///
    /// The status of the call, or `UNAVAILABLE` if it has no response in time.
    pub async fn open(
        call: impl Future<Output = Result<Response<Streaming<M>>, Status>>,
    ) -> Result<Self, Status> {
        let opened = timeout(OPEN_TIMEOUT, call).await.map_err(|_| missing(OPEN_TIMEOUT))??;
        Ok(Self::new(opened.into_inner()))
    }

    /// Wraps the response to a request with a keepalive interval.
    pub fn new(messages: Streaming<M>) -> Self {
        Self { messages, is_open: false, longest_silence: Some(OPEN_TIMEOUT) }
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
            let is_first = !std::mem::replace(&mut self.is_open, true);
            let Some(interval) = message.as_ref().and_then(WatchResponse::keepalive_interval) else {
                if is_first {
                    self.longest_silence = None;
                }
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use tonic::Code;
    use tonic_prost::ProstDecoder;

    use super::*;

    type Body = StreamBody<stream::Pending<Result<http_body::Frame<Bytes>, Status>>>;

    /// A path may stop carrying data at any moment, also before the first message.
    #[tokio::test(start_paused = true)]
    async fn a_watch_without_a_first_response_fails() {
        let opened = WatchStream::<WatchWorkloadsResponse>::open(pending()).await;
        assert_eq!(opened.unwrap_err().code(), Code::Unavailable);

        let body: Body = StreamBody::new(stream::pending());
        let decoder = ProstDecoder::<WatchWorkloadsResponse>::default();
        let messages = Streaming::new_response(decoder, body, http::StatusCode::OK, None, None);
        let mut stream = WatchStream::new(messages);
        assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    }
}
