//! What went wrong, as Kubernetes' clients read it. kubectl prints the message
//! word for word, so it says what to do.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::response::json;
use crate::model::Quoted;

/// When to try again what the server could not do just now.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Kubernetes' `Status` of a failure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    #[serde(rename = "status")]
    outcome: &'static str,
    message: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
    code: u16,
}

#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'static str,
}

impl Status {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            outcome: "Failure",
            message: message.into(),
            reason,
            details: None,
            code: code.as_u16(),
        }
    }

    fn with(self, details: Details) -> Self {
        Self { details: Some(details), ..self }
    }

    /// There is no object of this name; `resource` as in `workloads.kuma.io`.
    pub(crate) fn not_found(plural: &str, group: &str, name: &str) -> Self {
        let resource = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let shown = Quoted(name).to_string();
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{resource} {shown} not found")).with(Details {
            name: shown.trim_matches('"').to_owned(),
            group: group.to_owned(),
            kind: plural.to_owned(),
            ..Details::default()
        })
    }

    /// The request makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// Parameters that make sense alone, and not together.
    pub(crate) fn invalid(field: &'static str, problem: &str) -> Self {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {problem}");
        let cause = Cause { reason: "FieldValueForbidden", message: problem.to_owned(), field };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with(Details {
            group: "meta.k8s.io".to_owned(),
            kind: "ListOptions".to_owned(),
            causes: vec![cause],
            ..Details::default()
        })
    }

    /// What was asked for is too long ago.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// What was asked for has not happened yet. Clients know this cause, and list
    /// again without a version.
    pub(crate) fn too_large(asked: u64, head: u64) -> Self {
        let message = format!("Too large resource version: {asked}, current: {head}");
        let cause = Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".into(),
            field: "",
        };
        Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message).with(Details {
            causes: vec![cause],
            retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            ..Details::default()
        })
    }

    /// None of the forms that were asked for can be had.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            "only the following media types are accepted: application/json, \
             application/json;as=Table;g=meta.k8s.io;v=v1, application/json;as=Table;g=meta.k8s.io;v=v1beta1, \
             application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        )
    }

    /// There is nothing to write here.
    pub(crate) fn method_not_allowed(plural: &str, group: &str, message: String) -> Self {
        let details = Details { group: group.to_owned(), kind: plural.to_owned(), ..Details::default() };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with(details)
    }

    /// The server does not talk to whoever asks for it by this name.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// Whoever asks is not somebody who may.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// More was sent than anybody has a reason to.
    pub(crate) fn too_large_a_body(most: usize) -> Self {
        let message = format!("the body has more than the {most} bytes that it may have");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// What was sent is not of a type that is read here.
    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// The client took too long.
    pub(crate) fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// The answer to a method that is none of `methods`.
    pub(crate) fn allowing(self, methods: &'static str) -> Response {
        let mut response = self.into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        response
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// A limit is reached. Clients come again by themselves.
    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        let details = Details { retry_after_seconds: Some(RETRY_AFTER_SECONDS), ..Details::default() };
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).with(details)
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.details.as_ref().and_then(|details| details.retry_after_seconds);
        let mut response = json(&self);
        *response.status_mut() = code;
        if let Some(seconds) = retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
