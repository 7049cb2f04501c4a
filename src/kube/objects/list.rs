//! Lists, written while they are read: however many objects there are, what
//! waits for the reader is a pointer to each, and the text of a few.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;

use super::renderer::{COMMA, END, Pen};
use crate::kube::protocol::response::{JSON, PART, answer};

/// A list of objects at a revision; `next` is where it goes on, if it does.
pub(crate) fn list_of<T: Send + 'static>(
    pen: Pen,
    revision: u64,
    next: &str,
    objects: Vec<T>,
    write: impl Fn(&Pen, &T) -> Vec<u8> + Send + 'static,
) -> Response {
    let begin = pen.begin(revision, next);
    let list = (Some(begin), objects.into_iter(), true);
    let text = stream::unfold(list, move |(begin, mut objects, mut first)| {
        let part = begin.map(|mut part| {
            while part.len() < PART
                && let Some(object) = objects.next()
            {
                if !std::mem::take(&mut first) {
                    part.extend_from_slice(COMMA);
                }
                part.extend(write(&pen, &object));
            }
            let over = objects.len() == 0;
            if over {
                part.extend_from_slice(END);
            }
            let rest = (!over).then(|| Vec::with_capacity(PART + PART / 8));
            (Ok::<_, Infallible>(Bytes::from(part)), (rest, objects, first))
        });
        std::future::ready(part)
    });
    answer(JSON, Body::from_stream(text))
}
