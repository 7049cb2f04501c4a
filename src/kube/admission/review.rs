//! Kubernetes' `AdmissionReview` (`admission.k8s.io/v1`), which is both request and response.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    pod::Pod,
    verdict::{Denial, Verdict},
};
use crate::{kube::protocol::response::to_json, model::Quoted};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A review that can be answered.
#[derive(Debug)]
pub(super) struct Review<'a> {
    /// The response repeats it.
    uid: Cow<'a, str>,
    /// Namespace of the object; the object itself may not have it yet.
    pub(super) namespace: Cow<'a, str>,
    /// Name of the object; empty if the server generates it after admission.
    pub(super) name: Cow<'a, str>,
    pub(super) request: Request<'a>,
}

/// The request under review.
#[derive(Debug)]
pub(super) enum Request<'a> {
    /// Creates a Pod.
    Create(Pod<'a>),
    /// Updates a Pod.
    Update { old: Pod<'a>, new: Pod<'a> },
    /// An operation that no rule is about.
    Other,
    /// A request that the webhook can't judge, and why.
    Invalid(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<RawRequest<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRequest<'a> {
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: ObjectKind<'a>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct ObjectKind<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
}

impl<'a> Review<'a> {
    /// Parses the body of a webhook call.
    ///
    /// # Errors
    ///
    /// A message for the caller, if the body is not an `AdmissionReview` with a request.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(text).map_err(|error| format!("this is not an {KIND}: {error}"))?;
        if (&*envelope.api_version, &*envelope.kind) != (API_VERSION, KIND) {
            return Err(format!(
                "this is a {} of {}, but the webhook supports {KIND} of {API_VERSION} only: its \
                 admissionReviewVersions must be [v1]",
                Quoted(&envelope.kind),
                Quoted(&envelope.api_version)
            ));
        }
        let request = envelope.request.ok_or("request: is required")?;
        if request.uid.is_empty() {
            return Err("request.uid: is required: the response must repeat it".to_owned());
        }
        let parsed = request.parse().unwrap_or_else(Request::Invalid);
        let RawRequest { uid, namespace, name, .. } = request;
        Ok(Self { uid, namespace, name, request: parsed })
    }
}

impl<'a> RawRequest<'a> {
    fn parse(&self) -> Result<Request<'a>, String> {
        let operation = &*self.operation;
        if !matches!(operation, "CREATE" | "UPDATE") {
            return Ok(Request::Other);
        }
        let ObjectKind { group, version, kind } = &self.kind;
        if (&**group, &**version, &**kind) != ("", "v1", "Pod") {
            return Err(format!(
                "request.kind: {} of {}: this webhook is for Pods: its rules must have apiGroups [\"\"], \
                 apiVersions [v1] and resources [pods]",
                Quoted(kind),
                Quoted(&format!("{group}/{version}"))
            ));
        }
        let new = pod("request.object", self.object)?;
        Ok(match operation {
            "CREATE" => Request::Create(new),
            _ => Request::Update { old: pod("request.oldObject", self.old_object)?, new },
        })
    }
}

fn pod<'a>(field: &str, object: Option<&'a RawValue>) -> Result<Pod<'a>, String> {
    let object = object.ok_or_else(|| format!("{field}: is required"))?;
    serde_json::from_str(object.get()).map_err(|error| format!("{field}: is not a Pod: {error}"))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviewResponse<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Denial>,
    #[serde(flatten)]
    patch: Option<Patch>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Patch {
    patch_type: &'static str,
    /// In base64, as Kubernetes encodes bytes in JSON.
    patch: String,
}

impl Review<'_> {
    /// Builds the response to the review.
    pub(super) fn response(&self, verdict: Verdict) -> ReviewResponse<'_> {
        let (allowed, status, patch) = match verdict {
            Verdict::Allow => (true, None, None),
            Verdict::Deny(denial) => (false, Some(denial), None),
            Verdict::Patch(operations) => {
                let patch = STANDARD.encode(to_json(&operations));
                (true, None, Some(Patch { patch_type: "JSONPatch", patch }))
            }
        };
        let response = Response { uid: &self.uid, allowed, status, patch };
        ReviewResponse { api_version: API_VERSION, kind: KIND, response }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kube::admission::verdict::PatchOperation;

    fn review(request: &Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
    }

    fn request(change: impl FnOnce(&mut Value)) -> String {
        let mut request = json!({
            "uid": "1-2", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
            "namespace": "shop", "name": "", "object": {"metadata": {}, "spec": {}}, "oldObject": null,
        });
        change(&mut request);
        review(&request).to_string()
    }

    #[test]
    fn a_body_that_is_not_a_review_is_rejected_with_the_reason() {
        for (text, problem) in [
            (String::new(), "EOF while parsing"),
            ("[]".into(), "this is not an AdmissionReview"),
            ("\u{0}\u{1b}[31m".into(), "this is not an AdmissionReview"),
            ("{}".into(), "admissionReviewVersions must be [v1]"),
            (review(&json!({})).to_string().replace("io/v1", "io/v1beta1"), "\"admission.k8s.io/v1beta1\""),
            (review(&json!({})).to_string().replace("AdmissionReview", "Pod"), "this is a \"Pod\""),
            (review(&Value::Null).to_string(), "request: is required"),
            (review(&json!({})).to_string(), "request.uid: is required"),
            (request(|request| request["uid"] = json!(7)), "invalid type: integer"),
            (request(|request| request["object"] = json!("\u{1}")).replace("\\u0001", "\u{1}"), "control"),
            ("[".repeat(100_000), "this is not an AdmissionReview"),
        ] {
            let error = Review::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{problem:?} is not in {error:?}");
            assert!(error.len() < 400 && !error.contains(char::is_control), "{error}");
        }
        assert!(Review::parse(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn an_invalid_request_is_parsed_as_one_with_the_reason() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 8] = [
            (|r| r["object"] = Value::Null, "request.object: is required"),
            (|r| drop(r.as_object_mut().unwrap().remove("object")), "request.object: is required"),
            (|r| r["operation"] = json!("UPDATE"), "request.oldObject: is required"),
            (|r| r["kind"]["kind"] = json!("Deployment"), "this webhook is for Pods"),
            (|r| r["kind"]["group"] = json!("apps"), "\"apps/v1\""),
            (|r| r["kind"] = json!({}), "this webhook is for Pods"),
            (|r| r["object"] = json!({"spec": {}}), "is not a Pod: missing field `metadata`"),
            (|r| r["object"] = json!({"metadata": {"labels": {"a": 1}}}), "request.object: is not a Pod"),
        ];
        for (change, problem) in cases {
            let text = request(change);
            let review = Review::parse(text.as_bytes()).unwrap();
            let Request::Invalid(reason) = &review.request else { panic!("{text}: {:?}", review.request) };
            assert!(reason.contains(problem), "{problem:?} is not in {reason:?}");
        }
    }

    #[test]
    fn other_operations_are_not_validated_whatever_their_object() {
        for operation in ["DELETE", "CONNECT", "", "create"] {
            let text = request(|request| {
                request["operation"] = json!(operation);
                request["object"] = Value::Null;
                request["kind"] = json!({"kind": "PodExecOptions"});
            });
            assert!(matches!(Review::parse(text.as_bytes()).unwrap().request, Request::Other), "{operation}");
        }
    }

    #[test]
    fn responses_have_the_format_of_kubernetes() {
        let text = request(|_| ());
        let review = Review::parse(text.as_bytes()).unwrap();
        let response = |verdict| serde_json::to_value(review.response(verdict)).unwrap();
        let envelope = |response| json!({"apiVersion": API_VERSION, "kind": KIND, "response": response});
        assert_eq!(response(Verdict::Allow), envelope(json!({"uid": "1-2", "allowed": true})));
        assert_eq!(
            response(Verdict::Deny(Denial::forbidden("no"))),
            envelope(json!({
                "uid": "1-2", "allowed": false,
                "status": {"code": 403, "reason": "Forbidden", "message": "no"}
            }))
        );
        // base64 of [{"op":"add","path":"/a","value":"b"}]
        let patch = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EiLCJ2YWx1ZSI6ImIifV0=";
        assert_eq!(
            response(Verdict::Patch(vec![PatchOperation::add(&["a"], "b")])),
            envelope(json!({"uid": "1-2", "allowed": true, "patchType": "JSONPatch", "patch": patch}))
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

        /// A valid review with some of its bytes replaced, and truncated half of the time.
        #[test]
        fn every_body_is_parsed_or_rejected_with_a_short_message_without_control_characters(
            changes in proptest::collection::vec(proptest::prelude::any::<(proptest::sample::Index, u8)>(), 0..4),
            end in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            let mut text = request(|_| ()).into_bytes();
            for (at, byte) in changes {
                let at = at.index(text.len());
                text[at] = byte;
            }
            text.truncate(text.len() / 2 + end.index(text.len()));
            let message = match Review::parse(&text) {
                Ok(Review { request: Request::Invalid(reason), .. }) | Err(reason) => reason,
                Ok(_) => String::new(),
            };
            assert!(message.len() < 1_000 && !message.contains(char::is_control), "{message:?}");
        }
    }
}
