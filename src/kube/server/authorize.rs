//! Whether the caller of a request may do what its route does.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::request_metrics::verb;
use crate::{
    access::{Action, Denied, OwnedObject},
    audit::AuditedCaller,
    kube::{
        objects::{kind::Kind, right::Right},
        protocol::status::Status,
    },
    model::{Namespace, Principal},
};

/// What a route does.
#[derive(Debug, Clone)]
pub(super) struct RouteAction {
    pub(super) action: Action,
    /// The kind of objects that it reads, if any.
    pub(super) kind: Option<Arc<Kind>>,
}

/// Rejects a request if its caller may not do what the route does. The request then carries the
/// [`Right`] of its caller, which a watch checks until it ends.
pub(super) async fn check_route(
    State(route): State<RouteAction>,
    caller: Option<Extension<AuditedCaller>>,
    params: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    if route.action == Action::CheckHealth {
        return next.run(request).await;
    }
    let Some(Extension(caller)) = caller else {
        return Status::unauthorized("the request was not authenticated").into_response();
    };
    let param = |name| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let (namespace, name) = (param("namespace"), param("name"));
    let object = object(&route, namespace);
    if let Err(denied) = caller.allow(route.action, object.get()) {
        let verb = verb(request.method(), request.uri());
        let path = request.uri().path();
        let asked = Asked { verb, path, kind: route.kind.as_deref(), namespace, name };
        return asked.rejection(caller.principal(), &denied).into_response();
    }
    request.extensions_mut().insert(Right { caller, action: route.action, object });
    next.run(request).await
}

/// What a route with this namespace in its path reads. No object is in a namespace that is not
/// valid; that is shown only to callers that may read all.
fn object(route: &RouteAction, namespace: Option<&str>) -> OwnedObject {
    match route.kind {
        Some(_) => {
            let namespace = namespace.and_then(|text| Namespace::parse("namespace", text).ok());
            OwnedObject::Scope(namespace, None)
        }
        None => OwnedObject::Server,
    }
}

/// What a request asks for, in kube-apiserver's words.
struct Asked<'a> {
    verb: &'a str,
    path: &'a str,
    kind: Option<&'a Kind>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

impl Asked<'_> {
    fn rejection(&self, principal: &Principal, denied: &Denied) -> Status {
        match denied {
            Denied::Unauthenticated(_) => Status::unauthorized(denied.to_string()),
            Denied::NoPermission { .. } | Denied::Mismatch(_) => self.forbidden(principal),
        }
    }

    /// 403, with the message that kube-apiserver has.
    fn forbidden(&self, principal: &Principal) -> Status {
        let Self { verb, path, kind, namespace, name } = self;
        let Some(Kind { group, plural, .. }) = kind else {
            return Status::forbidden(format!("forbidden: {principal} cannot {verb} path {path:?}"));
        };
        let scope = match namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let what = format!(
            "{principal} cannot {verb} resource {plural:?} in API group {group:?} {scope} (no role includes it)"
        );
        Status::resource_forbidden(plural, group, name.unwrap_or_default(), &what)
    }
}
