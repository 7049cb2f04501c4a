//! Access: each call is authenticated before any of its messages is decoded, and its caller must
//! be allowed to do what the method does.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tonic::{Code, Status};

use crate::{
    access::{Action, Denied, Ended, Object, OwnedObject},
    audit::{AccessControl, AuditedCall, AuditedCaller, RequestId},
    model::Principal,
    net::rejection::rejection,
    registry::Accounts,
};

/// Where the caller's right is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckedBy {
    /// Before the service is called, because the object is the server.
    Layer,
    /// By the service, because the object is in a message.
    Service,
}

/// What each method does. No method can be called that is not here.
const METHODS: [(&str, Action, CheckedBy); 25] = [
    ("/headcount.v1.DataplaneService/Session", Action::RegisterDataplane, CheckedBy::Service),
    ("/headcount.v1.DataplaneService/ListDataplanes", Action::ReadDataplanes, CheckedBy::Service),
    ("/headcount.v1.WorkloadService/GetWorkload", Action::ReadWorkloads, CheckedBy::Service),
    ("/headcount.v1.WorkloadService/ListWorkloads", Action::ReadWorkloads, CheckedBy::Service),
    ("/headcount.v1.WorkloadService/WatchWorkloads", Action::ReadWorkloads, CheckedBy::Service),
    ("/headcount.v1.WorkloadService/WaitForWorkload", Action::ReadWorkloads, CheckedBy::Service),
    ("/headcount.v1.EventService/ListEvents", Action::ReadEvents, CheckedBy::Service),
    ("/headcount.v1.EventService/WatchEvents", Action::ReadEvents, CheckedBy::Service),
    ("/headcount.v1.MeshIdentityService/ApplyMeshIdentity", Action::WriteMeshIdentities, CheckedBy::Service),
    ("/headcount.v1.MeshIdentityService/GetMeshIdentity", Action::ReadMeshIdentities, CheckedBy::Service),
    ("/headcount.v1.MeshIdentityService/ListMeshIdentities", Action::ReadMeshIdentities, CheckedBy::Service),
    ("/headcount.v1.MeshIdentityService/DeleteMeshIdentity", Action::WriteMeshIdentities, CheckedBy::Service),
    ("/headcount.v1.BackupService/CreateBackup", Action::Backup, CheckedBy::Layer),
    ("/headcount.v1.TokenService/CreateSigningKey", Action::ManageKeys, CheckedBy::Layer),
    ("/headcount.v1.TokenService/ListSigningKeys", Action::ManageKeys, CheckedBy::Layer),
    ("/headcount.v1.TokenService/DeleteSigningKey", Action::ManageKeys, CheckedBy::Layer),
    ("/headcount.v1.TokenService/IssueDataplaneToken", Action::IssueDataplaneToken, CheckedBy::Service),
    ("/headcount.v1.TokenService/IssueUserToken", Action::IssueUserToken, CheckedBy::Layer),
    ("/headcount.v1.TokenService/RevokeToken", Action::ManageKeys, CheckedBy::Layer),
    ("/headcount.v1.TokenService/ListRevocations", Action::ManageKeys, CheckedBy::Layer),
    (
        "/envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck",
        Action::RegisterDataplane,
        CheckedBy::Service,
    ),
    ("/grpc.health.v1.Health/Check", Action::CheckHealth, CheckedBy::Layer),
    ("/grpc.health.v1.Health/Watch", Action::CheckHealth, CheckedBy::Layer),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Action::ReadSchema, CheckedBy::Layer),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Action::ReadSchema, CheckedBy::Layer),
];

/// The answer to a method that does not exist shows the schema.
const UNKNOWN_METHOD: (Action, CheckedBy) = (Action::ReadSchema, CheckedBy::Layer);

/// Authenticates a call, adds its [`AuditedCaller`] to the request's extensions, and rejects it if the
/// caller may not call the method. The response then has the id of the request.
pub(super) async fn authenticate(
    State(access): State<Arc<AccessControl>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = respond(access, request, next).await;
    if matches!(grpc_code(&response), Some(Code::Unauthenticated | Code::PermissionDenied)) {
        id.add_to(response.headers_mut());
    }
    response
}

/// The code of a response that is refused before its first message.
fn grpc_code(response: &Response) -> Option<Code> {
    Status::from_header_map(response.headers()).map(|status| status.code())
}

async fn respond(access: Arc<AccessControl>, mut request: Request, next: Next) -> Response {
    let caller = match access.authenticate_call(request.headers(), request.extensions()).await {
        Ok(caller) => caller,
        Err(error) => return rejection(Code::Unauthenticated, error.to_string()).into_http(),
    };
    if let Err(denied) = check_method(&caller, request.uri().path()) {
        return Status::from(denied).into_http();
    }
    request.extensions_mut().insert(caller);
    // For a session whose client replaces its token.
    request.extensions_mut().insert(access);
    next.run(request).await
}

/// The right of the caller of a method whose object is the server, for a call that lasts.
///
/// # Errors
///
/// If the right has ended already, or the call was not authenticated, which is a fault of the server.
pub(super) fn server_right<B>(request: &http::Request<B>) -> Result<AuditedCall, Status> {
    let caller = request.extensions().get::<AuditedCaller>();
    let caller = caller.ok_or_else(|| Status::internal("the call was not authenticated"))?;
    Ok(caller.allow_live(action(request.uri().path()).0, OwnedObject::Server)?)
}

/// What the method with this path does, and where the right to it is checked.
fn action(path: &str) -> (Action, CheckedBy) {
    let method = METHODS.iter().find(|(name, ..)| *name == path);
    method.map_or(UNKNOWN_METHOD, |&(_, action, checked)| (action, checked))
}

fn check_method(caller: &AuditedCaller, path: &str) -> Result<(), Denied> {
    let (action, checked) = action(path);
    match (caller.principal(), checked) {
        // Nothing of an anonymous caller is decoded.
        (Principal::Anonymous(_), _) | (_, CheckedBy::Layer) => caller.allow(action, Object::Server),
        (_, CheckedBy::Service) => Ok(()),
    }
}

/// Returns the caller of a call.
///
/// # Errors
///
/// `INTERNAL` if the call was not authenticated, which is a fault of the server.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Result<AuditedCaller, Status> {
    let caller = request.extensions().get::<AuditedCaller>().cloned();
    caller.ok_or_else(|| Status::internal("the call was not authenticated"))
}

/// The accounts that are charged for what a caller uses.
pub(super) fn accounts(caller: &AuditedCaller) -> Accounts {
    Accounts::of(Some(caller.caller()), caller.peer())
}

/// Returns what has authenticated a call.
///
/// # Errors
///
/// As [`caller`].
pub(super) fn control<T>(request: &tonic::Request<T>) -> Result<Arc<AccessControl>, Status> {
    let control = request.extensions().get::<Arc<AccessControl>>().cloned();
    control.ok_or_else(|| Status::internal("the call was not authenticated"))
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Unauthenticated(_) => Code::Unauthenticated,
            Denied::NoPermission { .. } | Denied::Mismatch(_) => Code::PermissionDenied,
        };
        rejection(code, denied.to_string())
    }
}

impl From<Ended> for Status {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Denied(denied) => denied.into(),
            Ended::Expired | Ended::Revoked(_) => rejection(Code::Unauthenticated, ended.to_string()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use http::{Extensions, HeaderMap, Method};
    use prost::Message as _;
    use prost_types::{FileDescriptorSet, MethodDescriptorProto};
    use tokio_util::sync::CancellationToken;
    use tower::Service as _;

    use super::*;
    use crate::{
        access::{Access, Policy, tests::user_of},
        audit::AuditLog,
        authentication::{Authenticator, Trust},
        config::Limits,
        envoy::checks::CheckSettings,
        grpc::{Grpc, GrpcAccess},
        model::{AnonymousAccess, User},
        net::rejection::is_rejection,
        persistence::{identities::MeshIdentities, tokens::TokenKeys},
        proto::DESCRIPTORS,
        registry::{Registry, RegistrySettings},
        store::MemoryStore,
        telemetry::metrics::{Listener, Metrics},
    };

    fn control(anonymous: AnonymousAccess, metrics: &Metrics) -> AccessControl {
        let access = Access::new(Policy::default(), std::time::SystemTime::now);
        let authenticator = Trust::without_credentials(access.clone()).listener(anonymous);
        AccessControl::new(Listener::Grpc, authenticator, metrics.refused.clone(), AuditLog::default())
    }

    /// A request of a trusted caller, for tests that call a service directly.
    pub(in crate::grpc) fn trusted<T>(message: T) -> tonic::Request<T> {
        let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap();
        let caller =
            control(AnonymousAccess::Full, &metrics).authenticate(&HeaderMap::new(), &Extensions::new());
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(caller.unwrap());
        request
    }

    /// A request of a user of the policy of `access::tests`, for tests that call a service directly.
    pub(in crate::grpc) fn called_by<T>(user: &str, message: T) -> tonic::Request<T> {
        let access = crate::access::tests::access();
        let user = Principal::User(User { name: user.into(), groups: vec![] });
        let authenticator = Authenticator::fixed(&access, user_of(&access, user));
        let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap();
        let control =
            AccessControl::new(Listener::Grpc, authenticator, metrics.refused.clone(), AuditLog::default());
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(control.authenticate(&HeaderMap::new(), &Extensions::new()).unwrap());
        request
    }

    /// The paths of all methods that the server has.
    fn methods() -> BTreeSet<String> {
        descriptors().into_iter().map(|(path, _)| path).collect()
    }

    /// All methods that the server has, with their paths.
    pub(in crate::grpc) fn descriptors() -> Vec<(String, MethodDescriptorProto)> {
        let sets = [
            DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let files = sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file);
        let services = files.flat_map(|file| {
            let package = file.package().to_owned();
            file.service.into_iter().map(move |service| (format!("/{package}.{}", service.name()), service))
        });
        services
            .flat_map(|(service, of)| {
                let path = move |method: &MethodDescriptorProto| format!("{service}/{}", method.name());
                of.method.into_iter().map(move |method| (path(&method), method))
            })
            .collect()
    }

    #[test]
    fn every_method_has_an_action() {
        let listed: BTreeSet<_> = METHODS.iter().map(|(path, ..)| (*path).to_owned()).collect();
        assert_eq!(listed, methods());
    }

    /// Calls each method with an empty body, and returns its status.
    async fn call_all(anonymous: AnonymousAccess) -> Vec<(String, Status)> {
        let registry = Registry::new(RegistrySettings::default());
        let metrics = Metrics::new(&registry).unwrap();
        let access = control(anonymous, &metrics);
        let (limits, checks) = (Limits::default(), CheckSettings::default());
        let shutdown = CancellationToken::new();
        let keys = TokenKeys::load(Arc::new(MemoryStore::new()), std::time::SystemTime::now()).await;
        let identities = MeshIdentities::load(Arc::new(MemoryStore::new())).await;
        let access = GrpcAccess {
            control: access,
            keys: Arc::new(keys.unwrap()),
            identities: Arc::new(identities.unwrap()),
        };
        let grpc = Grpc::new(&registry, None, limits, checks, access, &metrics, shutdown).await.unwrap();
        let mut statuses = Vec::new();
        for path in methods().into_iter().chain(["/headcount.v1.WorkloadService/DeleteWorkload".into()]) {
            let request = http::Request::builder().method(Method::POST).uri(&path);
            let request = request.header("content-type", "application/grpc").body(Body::empty()).unwrap();
            let response = grpc.routes.clone().call(request).await.unwrap();
            let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""));
            statuses.push((path, status));
        }
        statuses
    }

    #[tokio::test]
    async fn an_anonymous_caller_can_only_check_the_health() {
        for (path, status) in call_all(AnonymousAccess::Public).await {
            let public = path.starts_with("/grpc.health.v1.Health/");
            assert_eq!(status.code() == Code::Unauthenticated, !public, "{path}: {status:?}");
            assert!(public || is_rejection(&status), "{path}: {status:?}");
        }
        for (path, status) in call_all(AnonymousAccess::Full).await {
            assert_ne!(status.code(), Code::Unauthenticated, "{path}");
        }
    }

    #[test]
    fn clients_recognize_who_denied_the_call() {
        let anonymous = || Denied::Unauthenticated(Action::RegisterDataplane);
        let no_permission =
            Denied::NoPermission { principal: "x".into(), action: Action::Backup, scope: String::new() };
        for status in [
            Status::from(anonymous()),
            Status::from(no_permission),
            Status::from(Ended::Expired),
            Status::from(Ended::Revoked("the token is revoked".into())),
            Status::from(Ended::Denied(anonymous())),
        ] {
            assert!(is_rejection(&status), "{status:?}");
        }
    }
}
