//! Reads request bodies from unauthenticated clients, in bounded memory and time.

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

/// Two objects, the new and the old one, of the size that kube-apiserver accepts (3 MiB), and
/// the rest of the review.
const MAX_BYTES: usize = 7 * 1024 * 1024;
/// Several times the size of a usual Pod. Bodies up to this size need no permit.
const MAX_SMALL_BYTES: usize = 64 * 1024;
/// Larger bodies in memory at a time. A client that occupies all of them delays other large
/// bodies, but no small ones.
const MAX_LARGE_BODIES: usize = 8;
/// kube-apiserver's default timeout of a webhook.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads bodies, and limits how many large ones are in memory.
#[derive(Debug)]
pub(super) struct BodyReader {
    large_bodies: Arc<Semaphore>,
}

/// A body that was read, with the permit of a large one.
#[derive(Debug)]
pub(super) struct ReadBody {
    bytes: Bytes,
    permit: Option<OwnedSemaphorePermit>,
}

impl ReadBody {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the body is so large that parsing it takes milliseconds.
    pub(super) fn is_large(&self) -> bool {
        self.permit.is_some()
    }
}

impl BodyReader {
    pub(super) fn new() -> Self {
        Self { large_bodies: Arc::new(Semaphore::new(MAX_LARGE_BODIES)) }
    }

    /// Reads the body of a request, which must have the content type `application/json`.
    ///
    /// # Errors
    ///
    /// 415 for another content type, 413 if the body is too large, 408 if it does not arrive in
    /// time, 400 if the connection ends before it.
    pub(super) async fn read(&self, request: Request) -> Result<ReadBody, Status> {
        let headers = request.headers();
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            let message = "an AdmissionReview must have the content type application/json";
            return Err(Status::unsupported_media_type(message));
        }
        if text(CONTENT_LENGTH).parse().is_ok_and(|length: usize| length > MAX_BYTES) {
            return Err(Status::body_too_large(MAX_BYTES));
        }
        let read = timeout(READ_TIMEOUT, self.collect(request.into_body())).await;
        read.unwrap_or_else(|_elapsed| {
            Err(Status::request_timeout("the body did not arrive in time: send it again"))
        })
    }

    async fn collect(&self, mut body: Body) -> Result<ReadBody, Status> {
        let (mut bytes, mut permit) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_cut| Status::bad_request("the body is incomplete"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = bytes.len() + data.len();
            if length > MAX_BYTES {
                return Err(Status::body_too_large(MAX_BYTES));
            }
            if length > MAX_SMALL_BYTES && permit.is_none() {
                // The semaphore is never closed.
                permit = Arc::clone(&self.large_bodies).acquire_owned().await.ok();
            }
            bytes.extend_from_slice(&data);
        }
        Ok(ReadBody { bytes: bytes.freeze(), permit })
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

    /// A request with a chunked body of so many bytes, without a content length.
    fn chunked(bytes: usize) -> Request {
        const CHUNK: usize = 16 * 1024;
        let chunks = (0..bytes.div_ceil(CHUNK))
            .map(move |at| Ok::<_, Infallible>(Bytes::from(vec![b' '; CHUNK.min(bytes - at * CHUNK)])));
        request(Body::from_stream(stream::iter(chunks)))
    }

    #[tokio::test]
    async fn a_body_above_the_size_limit_is_rejected() {
        let reader = BodyReader::new();
        for (bytes, large) in
            [(0, false), (MAX_SMALL_BYTES, false), (MAX_SMALL_BYTES + 1, true), (MAX_BYTES, true)]
        {
            let read = reader.read(chunked(bytes)).await.unwrap();
            assert_eq!((read.bytes().len(), read.is_large()), (bytes, large));
        }
        let rejection = reader.read(chunked(MAX_BYTES + 1)).await.unwrap_err();
        assert!(rejection.message().contains("the limit of 7340032 bytes"), "{}", rejection.message());
        let mut declared = request(Body::empty());
        declared.headers_mut().insert(CONTENT_LENGTH, "7340033".parse().unwrap());
        assert!(reader.read(declared).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_in_memory_delay_only_large_bodies() {
        let reader = BodyReader::new();
        let mut in_memory = Vec::new();
        for _ in 0..MAX_LARGE_BODIES {
            in_memory.push(reader.read(chunked(MAX_SMALL_BYTES + 1)).await.unwrap());
        }
        assert!(reader.read(chunked(MAX_SMALL_BYTES + 1)).await.is_err());
        assert!(reader.read(chunked(MAX_SMALL_BYTES)).await.is_ok());
        in_memory.pop();
        assert!(reader.read(chunked(MAX_SMALL_BYTES + 1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_rejected_after_the_timeout() {
        let endless = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let rejection = BodyReader::new().read(request(endless)).await.unwrap_err();
        assert!(rejection.message().contains("did not arrive in time"));
    }

    #[tokio::test]
    async fn only_the_content_type_json_is_accepted() {
        for media in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            let mut request = request(Body::from("{}"));
            request.headers_mut().insert(CONTENT_TYPE, media.parse().unwrap());
            assert!(BodyReader::new().read(request).await.is_err(), "{media}");
        }
        let mut request = request(Body::from("{}"));
        request.headers_mut().insert(CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        assert!(BodyReader::new().read(request).await.is_ok());
    }
}
