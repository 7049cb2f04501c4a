//! Access: each request is authenticated, and its caller must be allowed to do what the path does.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::WWW_AUTHENTICATE},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    access::{Action, Denied, Object},
    audit::{AccessControl, RequestId},
};

/// What a request for a path that does not exist does: the response shows which paths exist.
pub(super) const UNKNOWN_PATH: Action = Action::ReadSchema;

/// The challenges of a response with status 401 (RFC 6750, section 3).
const NO_CREDENTIAL: &str = "Bearer";
const BAD_CREDENTIAL: &str = "Bearer error=\"invalid_token\"";

/// The action that each path requires.
#[derive(Debug)]
pub(super) struct PathAccess {
    pub(super) control: AccessControl,
    /// The action of each path.
    pub(super) actions: BTreeMap<&'static str, Action>,
}

/// Authenticates a request, adds its [`AuditedCaller`](crate::audit::AuditedCaller) to the
/// extensions, and rejects it if the caller may not request the path. The response then has the id of
/// the request.
pub(super) async fn check_path(
    State(access): State<Arc<PathAccess>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = respond(&access, request, next).await;
    if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        id.add_to(response.headers_mut());
    }
    response
}

async fn respond(access: &PathAccess, mut request: Request, next: Next) -> Response {
    let action = access.actions.get(request.uri().path()).copied().unwrap_or(UNKNOWN_PATH);
    let (headers, extensions) = (request.headers(), request.extensions());
    let caller = if action == Action::CheckHealth {
        // A probe whose token has expired must not make an orchestrator restart the server.
        access.control.identify(headers, extensions)
    } else {
        let caller = match access.control.authenticate(headers, extensions) {
            Ok(caller) => caller,
            Err(error) => return unauthorized(BAD_CREDENTIAL, &error.to_string()),
        };
        if let Err(denied) = caller.allow(action, Object::Server) {
            return match denied {
                Denied::Unauthenticated(_) => unauthorized(NO_CREDENTIAL, &denied.to_string()),
                Denied::NoPermission { .. } | Denied::Mismatch(_) => {
                    (StatusCode::FORBIDDEN, format!("{denied}\n")).into_response()
                }
            };
        }
        Some(caller)
    };
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    next.run(request).await
}

fn unauthorized(challenge: &'static str, message: &str) -> Response {
    let challenge = [(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))];
    (StatusCode::UNAUTHORIZED, challenge, format!("{message}\n")).into_response()
}
