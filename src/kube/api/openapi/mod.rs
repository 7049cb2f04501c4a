//! What our resources consist of, for `kubectl explain`, and for `kubectl create`
//! and its like, which read it before they hear that nothing can be written.
//!
//! One description, in the three forms in which it is asked for.

mod protobuf;
mod schema;
mod v2;
mod v3;

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{RawQuery, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH},
    },
    response::Response,
};

use self::schema::Definition;
use crate::{
    kube::{
        Desk,
        objects::{renderer::Kind, workloads::VERSION},
        protocol::{
            negotiation::prefers,
            options::Query,
            response::{JSON, answer, encode},
        },
    },
    model::fnv1a,
};

/// What kubectl asks for, and takes nothing else.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What it is answered: the `@` is allowed in no media type, and newer kubectls
/// do not read one that has it.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Whoever has a document by its hash may keep it: another one has another hash.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, immutable, max-age=31536000");

/// The documents, written once.
#[derive(Debug)]
pub(crate) struct OpenApi {
    v2: Document,
    v2_protobuf: Document,
    v3: Document,
    v3_workloads: Document,
    v3_events: Document,
}

/// A document and the hash of it.
#[derive(Debug)]
struct Document {
    content_type: HeaderValue,
    text: Bytes,
    hash: String,
}

impl Document {
    fn new(content_type: HeaderValue, text: Vec<u8>) -> Self {
        let hash = format!("{:016X}", fnv1a(&text));
        Self { content_type, text: text.into(), hash }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", self.hash);
        let known = headers.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
        let known = known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag));
        let text = if known { Bytes::new() } else { self.text.clone() };
        let mut response = answer(self.content_type.clone(), text);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response.headers_mut().extend(HeaderValue::try_from(tag).map(|tag| (ETAG, tag)));
        response
    }

    /// Answers who may have asked for it by its hash.
    fn answer_hashed(&self, query: Option<&str>, headers: &HeaderMap) -> Response {
        let mut response = self.answer(headers);
        if Query::new(query).get("hash") == Some(&self.hash) {
            response.headers_mut().insert(CACHE_CONTROL, FOR_EVER);
        }
        response
    }
}

impl OpenApi {
    /// Of workloads alone, unless the core is served here as well.
    pub(crate) fn new(workloads: &Kind, events: &Kind, serves_core: bool) -> Self {
        let workload = Definition {
            name: format!("{}.{VERSION}.Workload", reversed(&workloads.group)),
            path: format!("/apis/{}", workloads.api_version),
            kind: workloads,
            version: VERSION,
            schema: &schema::WORKLOAD,
        };
        let event = Definition {
            name: "io.k8s.api.core.v1.Event".to_owned(),
            path: "/api/v1".to_owned(),
            kind: events,
            version: "v1",
            schema: &schema::EVENT,
        };
        let json = |document| Document::new(JSON, encode(&document));
        let (v3_workloads, v3_events) = (json(v3::document(&workload)), json(v3::document(&event)));
        let mut told = vec![(&workload, v3_workloads.hash.as_str())];
        if serves_core {
            told.push((&event, &v3_events.hash));
        }
        let definitions: Vec<_> = told.iter().map(|(definition, _)| *definition).collect();
        let protobuf = protobuf::document(&definitions);
        Self {
            v2: json(v2::document(&definitions)),
            v2_protobuf: Document::new(HeaderValue::from_static(PROTOBUF), protobuf),
            v3: json(v3::index(&told)),
            v3_workloads,
            v3_events,
        }
    }
}

/// `kuma.io` as Kubernetes' definitions have it: `io.kuma`.
fn reversed(group: &str) -> String {
    group.rsplit('.').collect::<Vec<_>>().join(".")
}

pub(crate) async fn v2(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let openapi = &desk.openapi;
    let document = if [ASKED, PROTOBUF].iter().any(|media| prefers(&headers, media)) {
        &openapi.v2_protobuf
    } else {
        &openapi.v2
    };
    document.answer(&headers)
}

pub(crate) async fn v3(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    desk.openapi.v3.answer(&headers)
}

pub(crate) async fn v3_workloads(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    desk.openapi.v3_workloads.answer_hashed(query.as_deref(), &headers)
}

pub(crate) async fn v3_events(
    State(desk): State<Arc<Desk>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    desk.openapi.v3_events.answer_hashed(query.as_deref(), &headers)
}
