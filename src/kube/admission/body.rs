//! Reading what anybody may send, in bounded memory and time.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::kube::protocol::status::Status;

/// The new and the old object, each as large as a request to Kubernetes may be, and
/// what is around them.
const MOST_BYTES: usize = 7 * 1024 * 1024;
/// Several times an ordinary Pod: reviews up to this size wait for nobody.
const SMALL_BYTES: usize = 64 * 1024;
/// Larger ones that are in memory at a time. Whoever holds these up keeps out other
/// large ones, and no small ones.
const LARGE_AT_A_TIME: usize = 8;
/// kube-apiserver gives up on a webhook after 10 s unless it is told otherwise.
const TIME: Duration = Duration::from_secs(10);

/// Reads bodies.
#[derive(Debug)]
pub(super) struct Reader {
    large: Arc<Semaphore>,
}

/// What was sent, and the room that it takes.
#[derive(Debug)]
pub(super) struct Read {
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl Read {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reading it takes milliseconds.
    pub(super) fn is_large(&self) -> bool {
        self.room.is_some()
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_AT_A_TIME)) }
    }

    /// The whole body, which is JSON.
    pub(super) async fn read(&self, request: Request) -> Result<Read, Status> {
        let headers = request.headers();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            let message = "an AdmissionReview must come as application/json";
            return Err(Status::unsupported_media_type(message));
        }
        if text(CONTENT_LENGTH).parse().is_ok_and(|length: usize| length > MOST_BYTES) {
            return Err(Status::too_large_a_body(MOST_BYTES));
        }
        let read = timeout(TIME, self.collect(request.into_body())).await;
        read.unwrap_or_else(|_late| Err(Status::too_slow("the body has not come in time: send it again")))
    }

    async fn collect(&self, mut body: Body) -> Result<Read, Status> {
        let (mut bytes, mut room) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_cut| Status::bad_request("the body ends before its end"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > MOST_BYTES {
                return Err(Status::too_large_a_body(MOST_BYTES));
            }
            if length > SMALL_BYTES && room.is_none() {
                // It is never closed.
                room = Arc::clone(&self.large).acquire_owned().await.ok();
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Read { bytes: bytes.freeze(), room })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    fn request(body: Body) -> Request {
        Request::builder().header(CONTENT_TYPE, "application/json").body(body).unwrap()
    }

    /// A body of this many bytes, in parts, whose length nobody says before.
    fn parts(bytes: usize) -> Request {
        const PART: usize = 16 * 1024;
        let parts = (0..bytes.div_ceil(PART))
            .map(move |at| Ok::<_, Infallible>(Bytes::from(vec![b' '; PART.min(bytes - at * PART)])));
        request(Body::from_stream(stream::iter(parts)))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_not_beyond() {
        let reader = Reader::new();
        for (bytes, large) in [(0, false), (SMALL_BYTES, false), (SMALL_BYTES + 1, true), (MOST_BYTES, true)]
        {
            let read = reader.read(parts(bytes)).await.unwrap();
            assert_eq!((read.bytes().len(), read.is_large()), (bytes, large));
        }
        let refusal = reader.read(parts(MOST_BYTES + 1)).await.unwrap_err();
        assert!(refusal.message().contains("more than the 7340032 bytes"), "{}", refusal.message());
        let mut said = request(Body::empty());
        said.headers_mut().insert(CONTENT_LENGTH, "7340033".parse().unwrap());
        assert!(reader.read(said).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn large_ones_that_stay_keep_out_large_ones_only() {
        let reader = Reader::new();
        let mut held = Vec::new();
        for _ in 0..LARGE_AT_A_TIME {
            held.push(reader.read(parts(SMALL_BYTES + 1)).await.unwrap());
        }
        assert!(reader.read(parts(SMALL_BYTES + 1)).await.is_err());
        assert!(reader.read(parts(SMALL_BYTES)).await.is_ok());
        held.pop();
        assert!(reader.read(parts(SMALL_BYTES + 1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let refusal = Reader::new().read(request(endless)).await.unwrap_err();
        assert!(refusal.message().contains("has not come in time"));
    }

    #[tokio::test]
    async fn only_json_is_read() {
        for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            let mut request = request(Body::from("{}"));
            request.headers_mut().insert(CONTENT_TYPE, media.parse().unwrap());
            assert!(Reader::new().read(request).await.is_err(), "{media}");
        }
        let mut request = request(Body::from("{}"));
        request.headers_mut().insert(CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        assert!(Reader::new().read(request).await.is_ok());
    }
}
