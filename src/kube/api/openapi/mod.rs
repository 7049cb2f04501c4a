//! `OpenAPI` documents: the schema of the resources, for `kubectl explain`, and for commands
//! such as `kubectl create`, which read it before the server rejects the write.
//!
//! One schema, serialized in the three formats that clients request.

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
        objects::kind::Kind,
        protocol::{
            negotiation::prefers,
            query::Query,
            response::{JSON, response, to_json},
        },
    },
    model::fnv1a,
};

/// The only media type that kubectl accepts.
const PROTOBUF_REQUESTED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The media type of the response: `@` is not allowed in a media type, and newer kubectls
/// reject one that contains it.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document requested by its hash never changes: another document has another hash.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, immutable, max-age=31536000");

/// The `OpenAPI` documents, serialized once.
#[derive(Debug)]
pub(crate) struct OpenApiDocuments {
    v2: Document,
    v2_protobuf: Document,
    v3: Document,
    v3_workloads: Document,
    v3_events: Document,
}

/// A document and its hash.
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

    fn json(document: &serde_json::Value) -> Self {
        Self::new(JSON, to_json(document))
    }

    /// Responds with the document, or with 304 if the client has it.
    fn respond(&self, headers: &HeaderMap) -> Response {
        let etag = format!("\"{}\"", self.hash);
        let known = headers.get(IF_NONE_MATCH).and_then(|etags| etags.to_str().ok());
        let known = known.is_some_and(|etags| etags.split(',').any(|known| known.trim() == etag));
        let text = if known { Bytes::new() } else { self.text.clone() };
        let mut response = response(self.content_type.clone(), text);
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response.headers_mut().extend(HeaderValue::try_from(etag).map(|etag| (ETAG, etag)));
        response
    }

    /// The same, cacheable for good if the query names the document's hash.
    fn respond_cacheable(&self, query: Option<&str>, headers: &HeaderMap) -> Response {
        let mut response = self.respond(headers);
        if Query::new(query).get("hash") == Some(&self.hash) {
            response.headers_mut().insert(CACHE_CONTROL, IMMUTABLE);
        }
        response
    }
}

impl OpenApiDocuments {
    /// Builds the documents. The index and version 2 include events only if `serves_core`.
    pub(crate) fn new(workloads: &Kind, events: &Kind, serves_core: bool) -> Self {
        let workload = Definition {
            name: format!("{}.{}.Workload", reverse_domain(&workloads.group), workloads.version),
            path: format!("/apis/{}", workloads.api_version),
            kind: workloads,
            schema: &schema::WORKLOAD,
        };
        let event = Definition {
            name: "io.k8s.api.core.v1.Event".to_owned(),
            path: "/api/v1".to_owned(),
            kind: events,
            schema: &schema::EVENT,
        };
        let v3_workloads = Document::json(&v3::document(&workload));
        let v3_events = Document::json(&v3::document(&event));
        let mut served = vec![(&workload, v3_workloads.hash.as_str())];
        if serves_core {
            served.push((&event, &v3_events.hash));
        }
        let definitions: Vec<_> = served.iter().map(|(definition, _)| *definition).collect();
        let protobuf = protobuf::document(&definitions);
        Self {
            v2: Document::json(&v2::document(&definitions)),
            v2_protobuf: Document::new(HeaderValue::from_static(PROTOBUF), protobuf),
            v3: Document::json(&v3::index(&served)),
            v3_workloads,
            v3_events,
        }
    }
}

/// Reverses a domain name, as in the names of Kubernetes' definitions: `kuma.io` to `io.kuma`.
fn reverse_domain(group: &str) -> String {
    group.rsplit('.').collect::<Vec<_>>().join(".")
}

type Documents = State<Arc<OpenApiDocuments>>;

pub(crate) async fn v2(State(documents): Documents, headers: HeaderMap) -> Response {
    let protobuf = [PROTOBUF_REQUESTED, PROTOBUF].iter().any(|media| prefers(&headers, media));
    let document = if protobuf { &documents.v2_protobuf } else { &documents.v2 };
    document.respond(&headers)
}

pub(crate) async fn v3(State(documents): Documents, headers: HeaderMap) -> Response {
    documents.v3.respond(&headers)
}

pub(crate) async fn v3_workloads(
    State(documents): Documents,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    documents.v3_workloads.respond_cacheable(query.as_deref(), &headers)
}

pub(crate) async fn v3_events(
    State(documents): Documents,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    documents.v3_events.respond_cacheable(query.as_deref(), &headers)
}
