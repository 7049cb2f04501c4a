//! The two admission webhooks for Pods.
//!
//! ```text
//! body ─► review (the part of an AdmissionReview that the rules need) ─► pod
//!                                                                         ▼
//! response ◄── verdict ◄── rules: mutate (names the workload), validate (protects its label)
//! ```
//!
//! The webhooks have the address of the Kubernetes API: kube-apiserver is the client of both,
//! through one Service and one certificate. It calls webhooks without a client certificate, so
//! anyone can send a review; apart from the name of a mesh, a response contains only what the
//! review contained. The webhooks do not inject sidecars.

mod body;
mod pod;
mod review;
mod rules;
mod verdict;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use tracing::info;

use self::{body::BodyReader, review::Review, rules::Rules, verdict::Verdict};
use crate::{
    config::AdmissionSettings,
    kube::protocol::{response::json_response, status::Status},
    model::Quoted,
    registry::Registry,
    runtime::blocking::run_blocking,
};

/// Path of the validating webhook; Kuma uses the same.
pub(super) const VALIDATE: &str = "/validate-v1-pod";
/// Path of the mutating webhook.
pub(super) const MUTATE: &str = "/mutate-v1-pod";

/// The state of both webhooks.
#[derive(Debug)]
struct Webhooks {
    rules: Rules,
    reader: BodyReader,
}

/// Builds the routes of both webhooks.
pub(super) fn routes(registry: &Registry, settings: &AdmissionSettings) -> Router {
    let webhooks = Webhooks { rules: Rules::new(registry, settings), reader: BodyReader::new() };
    Router::new()
        .route(VALIDATE, post(validate).fallback(only_post))
        .route(MUTATE, post(mutate).fallback(only_post))
        .with_state(Arc::new(webhooks))
}

async fn validate(State(webhooks): State<Arc<Webhooks>>, request: Request) -> Response {
    webhooks.review(request, Rules::validate).await
}

async fn mutate(State(webhooks): State<Arc<Webhooks>>, request: Request) -> Response {
    webhooks.review(request, Rules::mutate).await
}

async fn only_post() -> Response {
    let message = "only POST is supported: kube-apiserver posts AdmissionReviews here";
    Status::method_not_allowed("", "", message.to_owned()).allowing("POST")
}

type Rule = fn(&Rules, &Review<'_>) -> Verdict;

impl Webhooks {
    async fn review(&self, request: Request, rule: Rule) -> Response {
        let body = match self.reader.read(request).await {
            Ok(body) => body,
            Err(rejection) => return rejection.into_response(),
        };
        let decide = || self.decide(body.bytes(), rule);
        if body.is_large() { run_blocking(decide) } else { decide() }
    }

    fn decide(&self, body: &[u8], rule: Rule) -> Response {
        let review = match Review::parse(body) {
            Ok(review) => review,
            Err(problem) => return Status::bad_request(problem).into_response(),
        };
        let verdict = rule(&self.rules, &review);
        if let Verdict::Deny(denial) = &verdict {
            let (namespace, name) = (Quoted(&review.namespace), Quoted(&review.name));
            info!(%namespace, %name, reason = denial.message, "denied a Pod");
        }
        json_response(&review.response(verdict))
    }
}
