//! Failures as Kubernetes' clients read them. kubectl prints the message verbatim, so it
//! states the remedy.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{ALLOW, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::response::json_response;
use crate::{
    access::{Denied, Ended},
    model::Quoted,
};

/// Retry delay for failures that are temporary.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Kubernetes' `Status` object of a failed request.
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

    /// 404: no object has this name.
    pub(crate) fn not_found(plural: &str, group: &str, name: &str) -> Self {
        let resource = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let quoted = Quoted(name).to_string();
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("{resource} {quoted} not found")).with(Details {
            name: quoted.trim_matches('"').to_owned(),
            group: group.to_owned(),
            kind: plural.to_owned(),
            ..Details::default()
        })
    }

    /// 400: the request is malformed.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 422: query parameters that are valid alone contradict each other.
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

    /// 410: the requested revision or page is no longer available.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 410: changes after the requested revision are no longer kept.
    pub(crate) fn resource_version_too_old(requested: u64, latest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({latest})"))
    }

    /// 504: the requested revision is newer than the latest. Clients recognize this cause and
    /// list again without a resource version.
    pub(crate) fn resource_version_too_large(requested: u64, latest: u64) -> Self {
        let message = format!("Too large resource version: {requested}, current: {latest}");
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

    /// 406: the server has none of the accepted representations.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "NotAcceptable",
            "only the following media types are accepted: application/json, \
             application/json;as=Table;g=meta.k8s.io;v=v1, application/json;as=Table;g=meta.k8s.io;v=v1beta1, \
             application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        )
    }

    /// 405: the path does not support the method.
    pub(crate) fn method_not_allowed(plural: &str, group: &str, message: String) -> Self {
        let details = Details { group: group.to_owned(), kind: plural.to_owned(), ..Details::default() };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with(details)
    }

    /// 403: the client may not send this request.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 403: the client may not do this to objects of a resource, or to the one with a name.
    pub(crate) fn resource_forbidden(plural: &str, group: &str, name: &str, what: &str) -> Self {
        let resource = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let quoted = Quoted(name).to_string();
        let object = if name.is_empty() { String::new() } else { format!(" {quoted}") };
        Self::forbidden(format!("{resource}{object} is forbidden: {what}")).with(Details {
            name: quoted.trim_matches('"').to_owned(),
            group: group.to_owned(),
            kind: plural.to_owned(),
            ..Details::default()
        })
    }

    /// 401: the client is not authenticated.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 413: the body exceeds `limit` bytes.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let message = format!("the body is larger than the limit of {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415: the body has the wrong content type.
    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 408: the body did not arrive in time.
    pub(crate) fn request_timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// Builds the response, with an `Allow` header that lists the supported `methods`.
    pub(crate) fn allowing(self, methods: &'static str) -> Response {
        let mut response = self.into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        response
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// 429: a limit of the server is reached. Clients retry by themselves.
    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        let details = Details { retry_after_seconds: Some(RETRY_AFTER_SECONDS), ..Details::default() };
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message).with(details)
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Unauthenticated(_) => Self::unauthorized(message),
            Denied::NoPermission { .. } | Denied::Mismatch(_) => Self::forbidden(message),
        }
    }
}

impl From<Ended> for Status {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Denied(denied) => denied.into(),
            Ended::Expired | Ended::Revoked(_) => Self::unauthorized(ended.to_string()),
        }
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.details.as_ref().and_then(|details| details.retry_after_seconds);
        let mut response = json_response(&self);
        *response.status_mut() = code;
        if let Some(seconds) = retry {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
