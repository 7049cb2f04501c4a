//! List responses, serialized while the client reads them: a waiting response holds one
//! pointer for each object, and the text of one chunk.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;

use super::renderer::{LIST_END, LIST_SEPARATOR, Renderer};
use crate::kube::protocol::response::{CHUNK_BYTES, JSON, response};

/// Responds with a list of objects at a revision. `next` is the continue token of the next
/// page; empty on the last page.
pub(crate) fn list_response<T: Send + 'static>(
    renderer: Renderer,
    revision: u64,
    next: &str,
    objects: Vec<T>,
    render: impl Fn(&Renderer, &T) -> Vec<u8> + Send + 'static,
) -> Response {
    let start = renderer.list_start(revision, next);
    let list = (Some(start), objects.into_iter(), true);
    let chunks = stream::unfold(list, move |(chunk, mut objects, mut first)| {
        let chunk = chunk.map(|mut chunk| {
            while chunk.len() < CHUNK_BYTES
                && let Some(object) = objects.next()
            {
                if !std::mem::take(&mut first) {
                    chunk.extend_from_slice(LIST_SEPARATOR);
                }
                chunk.extend(render(&renderer, &object));
            }
            let done = objects.len() == 0;
            if done {
                chunk.extend_from_slice(LIST_END);
            }
            let next_chunk = (!done).then(|| Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8));
            (Ok::<_, Infallible>(Bytes::from(chunk)), (next_chunk, objects, first))
        });
        std::future::ready(chunk)
    });
    response(JSON, Body::from_stream(chunks))
}
