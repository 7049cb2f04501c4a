//! Kubernetes' `AdmissionReview` (`admission.k8s.io/v1`), which is question and
//! answer.

use std::{borrow::Cow, iter};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::pod::Pod;
use crate::{kube::protocol::response::encode, model::Quoted};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A question that makes sense.
#[derive(Debug)]
pub(super) struct Review<'a> {
    /// By which it knows its answer.
    uid: Cow<'a, str>,
    /// Of what is asked about; the object itself may not say yet.
    pub(super) namespace: Cow<'a, str>,
    /// May be empty: the server makes one up after we have answered.
    pub(super) name: Cow<'a, str>,
    pub(super) asked: Asked<'a>,
}

/// What is asked.
#[derive(Debug)]
pub(super) enum Asked<'a> {
    /// May this Pod be created?
    Create(Pod<'a>),
    /// May it be changed?
    Update { old: Pod<'a>, new: Pod<'a> },
    /// Nothing that any rule is about.
    Other,
    /// Something that can't be answered; why.
    Nonsense(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
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
    /// Reads what was sent. The error is for whoever sent something else.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(text).map_err(|error| format!("this is no {KIND}: {error}"))?;
        if (&*envelope.api_version, &*envelope.kind) != (API_VERSION, KIND) {
            return Err(format!(
                "this is a {} of {}, where a {KIND} of {API_VERSION} is understood: \
                 the webhook's admissionReviewVersions must be [v1]",
                Quoted(&envelope.kind),
                Quoted(&envelope.api_version)
            ));
        }
        let request = envelope.request.ok_or("request: is required")?;
        if request.uid.is_empty() {
            return Err("request.uid: is required: the answer has to repeat it".to_owned());
        }
        let asked = request.asked().unwrap_or_else(Asked::Nonsense);
        let Request { uid, namespace, name, .. } = request;
        Ok(Self { uid, namespace, name, asked })
    }
}

impl<'a> Request<'a> {
    fn asked(&self) -> Result<Asked<'a>, String> {
        let asks = &*self.operation;
        if !matches!(asks, "CREATE" | "UPDATE") {
            return Ok(Asked::Other);
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
        Ok(match asks {
            "CREATE" => Asked::Create(new),
            _ => Asked::Update { old: pod("request.oldObject", self.old_object)?, new },
        })
    }
}

fn pod<'a>(field: &str, object: Option<&'a RawValue>) -> Result<Pod<'a>, String> {
    let object = object.ok_or_else(|| format!("{field}: is required"))?;
    serde_json::from_str(object.get()).map_err(|error| format!("{field}: is no Pod: {error}"))
}

/// What is said to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing stands against it.
    Allow,
    /// Nothing stands against it, if it gets what it lacks.
    Patch(Vec<Operation>),
    /// It may not be.
    Deny(Denial),
}

/// Why something may not be.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Denial {
    code: u16,
    reason: &'static str,
    pub(super) message: String,
}

impl Denial {
    /// It is against a rule.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self { code: 403, reason: "Forbidden", message: message.into() }
    }

    /// It has a value that can't be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: 422, reason: "Invalid", message: message.into() }
    }

    /// It can't be understood.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { code: 400, reason: "BadRequest", message: message.into() }
    }
}

/// A step of a JSON Patch (RFC 6902).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Operation {
    op: &'static str,
    path: String,
    value: serde_json::Value,
}

impl Operation {
    /// Adds a member, or takes the place of the one there is.
    pub(super) fn add(path: &[&str], value: impl Into<serde_json::Value>) -> Self {
        Self { op: "add", path: pointer(path), value: value.into() }
    }
}

/// A JSON Pointer (RFC 6901): `/` within a name is `~1`, and `~` is `~0`.
fn pointer(path: &[&str]) -> String {
    let escaped = path.iter().map(|name| name.replace('~', "~0").replace('/', "~1"));
    iter::once(String::new()).chain(escaped).collect::<Vec<_>>().join("/")
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
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
    /// In base64, as all bytes in Kubernetes' JSON.
    patch: String,
}

impl Review<'_> {
    /// The answer to it.
    pub(super) fn answered(&self, verdict: Verdict) -> Answer<'_> {
        let (allowed, status, patch) = match verdict {
            Verdict::Allow => (true, None, None),
            Verdict::Deny(denial) => (false, Some(denial), None),
            Verdict::Patch(operations) => {
                let patch = STANDARD.encode(encode(&operations));
                (true, None, Some(Patch { patch_type: "JSONPatch", patch }))
            }
        };
        let response = Response { uid: &self.uid, allowed, status, patch };
        Answer { api_version: API_VERSION, kind: KIND, response }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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
    fn what_is_no_review_is_refused_with_the_reason() {
        for (text, problem) in [
            (String::new(), "EOF while parsing"),
            ("[]".into(), "this is no AdmissionReview"),
            ("\u{0}\u{1b}[31m".into(), "this is no AdmissionReview"),
            ("{}".into(), "admissionReviewVersions must be [v1]"),
            (review(&json!({})).to_string().replace("io/v1", "io/v1beta1"), "\"admission.k8s.io/v1beta1\""),
            (review(&json!({})).to_string().replace("AdmissionReview", "Pod"), "this is a \"Pod\""),
            (review(&Value::Null).to_string(), "request: is required"),
            (review(&json!({})).to_string(), "request.uid: is required"),
            (request(|request| request["uid"] = json!(7)), "invalid type: integer"),
            (request(|request| request["object"] = json!("\u{1}")).replace("\\u0001", "\u{1}"), "control"),
            ("[".repeat(100_000), "this is no AdmissionReview"),
        ] {
            let error = Review::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{problem:?} is not in {error:?}");
            assert!(error.len() < 400 && !error.contains(char::is_control), "{error}");
        }
        assert!(Review::parse(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn what_a_question_lacks_is_said_in_the_answer() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 8] = [
            (|r| r["object"] = Value::Null, "request.object: is required"),
            (|r| drop(r.as_object_mut().unwrap().remove("object")), "request.object: is required"),
            (|r| r["operation"] = json!("UPDATE"), "request.oldObject: is required"),
            (|r| r["kind"]["kind"] = json!("Deployment"), "this webhook is for Pods"),
            (|r| r["kind"]["group"] = json!("apps"), "\"apps/v1\""),
            (|r| r["kind"] = json!({}), "this webhook is for Pods"),
            (|r| r["object"] = json!({"spec": {}}), "is no Pod: missing field `metadata`"),
            (|r| r["object"] = json!({"metadata": {"labels": {"a": 1}}}), "request.object: is no Pod"),
        ];
        for (change, problem) in cases {
            let text = request(change);
            let review = Review::parse(text.as_bytes()).unwrap();
            let Asked::Nonsense(why) = &review.asked else { panic!("{text}: {:?}", review.asked) };
            assert!(why.contains(problem), "{problem:?} is not in {why:?}");
        }
    }

    #[test]
    fn other_operations_are_nobodys_affair_whatever_they_carry() {
        for operation in ["DELETE", "CONNECT", "", "create"] {
            let text = request(|request| {
                request["operation"] = json!(operation);
                request["object"] = Value::Null;
                request["kind"] = json!({"kind": "PodExecOptions"});
            });
            assert!(matches!(Review::parse(text.as_bytes()).unwrap().asked, Asked::Other), "{operation}");
        }
    }

    #[test]
    fn answers_have_kubernetes_shape() {
        let text = request(|_| ());
        let review = Review::parse(text.as_bytes()).unwrap();
        let answered = |verdict| serde_json::to_value(review.answered(verdict)).unwrap();
        let whole = |response| json!({"apiVersion": API_VERSION, "kind": KIND, "response": response});
        assert_eq!(answered(Verdict::Allow), whole(json!({"uid": "1-2", "allowed": true})));
        assert_eq!(
            answered(Verdict::Deny(Denial::forbidden("no"))),
            whole(json!({
                "uid": "1-2", "allowed": false,
                "status": {"code": 403, "reason": "Forbidden", "message": "no"}
            }))
        );
        // base64 of [{"op":"add","path":"/a","value":"b"}]
        let patch = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EiLCJ2YWx1ZSI6ImIifV0=";
        assert_eq!(
            answered(Verdict::Patch(vec![Operation::add(&["a"], "b")])),
            whole(json!({"uid": "1-2", "allowed": true, "patchType": "JSONPatch", "patch": patch}))
        );
    }

    #[test]
    fn names_in_paths_are_escaped() {
        assert_eq!(
            pointer(&["metadata", "annotations", "kuma.io/workload"]),
            "/metadata/annotations/kuma.io~1workload"
        );
        assert_eq!(pointer(&["~1", "a~b/c"]), "/~01/a~0b~1c");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(512))]

        /// Bytes of a good question, some of them exchanged.
        #[test]
        fn whatever_is_sent_has_a_short_answer_without_control_characters(
            changes in proptest::collection::vec(proptest::prelude::any::<(proptest::sample::Index, u8)>(), 0..4),
            end in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            let mut text = request(|_| ()).into_bytes();
            for (at, byte) in changes {
                let at = at.index(text.len());
                text[at] = byte;
            }
            // Half of them whole.
            text.truncate(text.len() / 2 + end.index(text.len()));
            let said = match Review::parse(&text) {
                Ok(Review { asked: Asked::Nonsense(why), .. }) | Err(why) => why,
                Ok(_) => String::new(),
            };
            assert!(said.len() < 1_000 && !said.contains(char::is_control), "{said:?}");
        }
    }
}
