//! What kube-apiserver asks before it lets a Pod in: the two admission webhooks.
//!
//! ```text
//! body ─► review (an AdmissionReview, as far as it is of interest) ─► pod
//!                                                                      ▼
//! answer ◄── verdict ◄── rules: mutate (names the workload), validate (keeps its label out)
//! ```
//!
//! They are at the address of the Kubernetes API: kube-apiserver is the client of
//! both, by one Service and one certificate. It comes without a client certificate
//! here, so anybody may ask; an answer says nothing that the question did not,
//! save for the name of a mesh. Sidecars are not injected.

mod body;
mod pod;
mod review;
mod rules;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use tracing::info;

use self::{
    body::Reader,
    review::{Review, Verdict},
    rules::Rules,
};
use crate::{
    config::AdmissionSettings,
    kube::protocol::{response::json, status::Status},
    model::Quoted,
    registry::Registry,
    runtime::blocking::run_blocking,
};

/// Where Pods are checked; Kuma has the same.
pub(super) const VALIDATE: &str = "/validate-v1-pod";
/// Where Pods get their workload's name.
pub(super) const MUTATE: &str = "/mutate-v1-pod";

/// What both webhooks need.
#[derive(Debug)]
struct Admission {
    rules: Rules,
    reader: Reader,
}

/// Both webhooks.
pub(super) fn routes(registry: &Registry, settings: &AdmissionSettings) -> Router {
    let admission = Admission { rules: Rules::new(registry, settings), reader: Reader::new() };
    Router::new()
        .route(VALIDATE, post(validate).fallback(only_post))
        .route(MUTATE, post(mutate).fallback(only_post))
        .with_state(Arc::new(admission))
}

async fn validate(State(admission): State<Arc<Admission>>, request: Request) -> Response {
    admission.review(request, Rules::validate).await
}

async fn mutate(State(admission): State<Arc<Admission>>, request: Request) -> Response {
    admission.review(request, Rules::mutate).await
}

async fn only_post() -> Response {
    let message = "kube-apiserver posts AdmissionReviews here; there is nothing else";
    Status::method_not_allowed("", "", message.to_owned()).allowing("POST")
}

type Rule = fn(&Rules, &Review<'_>) -> Verdict;

impl Admission {
    async fn review(&self, request: Request, rule: Rule) -> Response {
        let body = match self.reader.read(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal.into_response(),
        };
        let judge = || self.judge(body.bytes(), rule);
        if body.is_large() { run_blocking(judge) } else { judge() }
    }

    fn judge(&self, body: &[u8], rule: Rule) -> Response {
        let review = match Review::parse(body) {
            Ok(review) => review,
            Err(problem) => return Status::bad_request(problem).into_response(),
        };
        let verdict = rule(&self.rules, &review);
        if let Verdict::Deny(denial) = &verdict {
            let (namespace, name) = (Quoted(&review.namespace), Quoted(&review.name));
            info!(%namespace, %name, reason = denial.message, "refused a Pod");
        }
        json(&review.answered(verdict))
    }
}
