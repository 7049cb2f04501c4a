//! `TokenService`: signing keys, tokens and their revocation.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tonic::{Code, Request, Response, Status};
use tracing::info;

use crate::{
    access::{Action, Object},
    audit::{AuditedCaller, Operation, Subject as Target},
    authentication::token::{LIFETIMES, SigningKey, Subject},
    convert,
    grpc::access::caller,
    model::{
        DataplaneGrant, DataplaneName, Invalid, KeyAlgorithm, KeyId, KeyUse, Labels, MeshName, Namespace,
        Principal, Proof, Revocation, SigningKeyRecord, TokenId, User, WorkloadName,
    },
    net::rejection::rejection,
    persistence::tokens::{IssuedToken, TokenKeys, TokenKeysError},
    proto::{
        self, CreateSigningKeyRequest, CreateSigningKeyResponse, DeleteSigningKeyRequest,
        DeleteSigningKeyResponse, IssueDataplaneTokenRequest, IssueDataplaneTokenResponse,
        IssueUserTokenRequest, IssueUserTokenResponse, ListRevocationsRequest, ListRevocationsResponse,
        ListSigningKeysRequest, ListSigningKeysResponse, RevokeTokenRequest, RevokeTokenResponse, TagValues,
        server::token_service_server::TokenService,
    },
};

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Tokens {
    keys: Arc<TokenKeys>,
    /// Whether keys and revocations survive a restart.
    durable: bool,
}

impl Tokens {
    pub(in crate::grpc) fn new(keys: Arc<TokenKeys>, durable: bool) -> Self {
        Self { keys, durable }
    }
}

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn create_signing_key(
        &self,
        request: Request<CreateSigningKeyRequest>,
    ) -> Result<Response<CreateSigningKeyResponse>, Status> {
        let caller = caller(&request)?;
        caller.allow(Action::ManageKeys, Object::Server)?;
        let operation = Operation::CreateSigningKey;
        let record = self.create(request.into_inner()).await;
        let record = record.inspect_err(|status| caller.failed(operation, Target::Server, status))?;
        let SigningKeyRecord { usage, id, algorithm, .. } = &record;
        caller.done(operation, Target::SigningKey(usage, id), algorithm);
        info!(caller = %caller.principal(), kid = %id, %usage, "signing key created");
        Ok(Response::new(CreateSigningKeyResponse { key: Some(key_to_proto(&record)) }))
    }

    async fn list_signing_keys(
        &self,
        request: Request<ListSigningKeysRequest>,
    ) -> Result<Response<ListSigningKeysResponse>, Status> {
        caller(&request)?.allow(Action::ManageKeys, Object::Server)?;
        let keys = self.keys.list().await.iter().map(key_to_proto).collect();
        Ok(Response::new(ListSigningKeysResponse { keys }))
    }

    async fn delete_signing_key(
        &self,
        request: Request<DeleteSigningKeyRequest>,
    ) -> Result<Response<DeleteSigningKeyResponse>, Status> {
        let caller = caller(&request)?;
        caller.allow(Action::ManageKeys, Object::Server)?;
        let request = request.into_inner();
        let operation = Operation::DeleteSigningKey;
        let key = key_of("", request.r#use(), &request.mesh, &request.kid).map_err(Status::from);
        let (usage, id) = key.inspect_err(|status| caller.failed(operation, Target::Server, status))?;
        let (key, removed) = (Target::SigningKey(&usage, &id), self.keys.remove(&usage, &id).await);
        removed
            .map_err(|error| status(&error))
            .inspect_err(|status| caller.failed(operation, key, status))?;
        caller.done(operation, key, &"");
        info!(caller = %caller.principal(), kid = %id, %usage, "signing key deleted");
        Ok(Response::new(DeleteSigningKeyResponse {}))
    }

    async fn issue_dataplane_token(
        &self,
        request: Request<IssueDataplaneTokenRequest>,
    ) -> Result<Response<IssueDataplaneTokenResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let scope = scope(&request);
        // No role is limited to a namespace or mesh whose name is invalid.
        let (namespace, mesh) =
            scope.as_ref().map_or((None, None), |(namespace, mesh)| (namespace.as_ref(), mesh.as_ref()));
        caller.allow(Action::IssueDataplaneToken, Object::Scope(namespace, mesh))?;
        let requested = scope.and_then(|scope| {
            Ok((Subject::Dataplane(grant(scope, &request)?), lifetime(request.valid_for)?))
        });
        let token = self.issue(&caller, Operation::IssueDataplaneToken, requested).await?;
        Ok(Response::new(IssueDataplaneTokenResponse { token }))
    }

    async fn issue_user_token(
        &self,
        request: Request<IssueUserTokenRequest>,
    ) -> Result<Response<IssueUserTokenResponse>, Status> {
        let caller = caller(&request)?;
        caller.allow(Action::IssueUserToken, Object::Server)?;
        let request = request.into_inner();
        let user = User::parse(&request.name, &request.groups).map(Subject::User);
        let requested = user.and_then(|user| Ok((user, lifetime(request.valid_for)?)));
        let token = self.issue(&caller, Operation::IssueUserToken, requested).await?;
        Ok(Response::new(IssueUserTokenResponse { token }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = caller(&request)?;
        caller.allow(Action::ManageKeys, Object::Server)?;
        let operation = Operation::RevokeToken;
        let revoked = self.revoke(&request.into_inner()).await;
        let revoked = revoked.inspect_err(|status| caller.failed(operation, Target::Server, status))?;
        let Revocation { id, expires } = revoked;
        let kept = humantime::format_rfc3339_seconds(expires);
        caller.done(
            operation,
            Target::Token(&id),
            &format_args!("of a token that ends at {kept} at the latest"),
        );
        info!(caller = %caller.principal(), token = %id, "token revoked");
        Ok(Response::new(RevokeTokenResponse { durable: self.durable }))
    }

    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        caller(&request)?.allow(Action::ManageKeys, Object::Server)?;
        let revocations = self.keys.revocations().await.iter().map(revocation_to_proto).collect();
        Ok(Response::new(ListRevocationsResponse { revocations }))
    }
}

impl Tokens {
    async fn create(&self, request: CreateSigningKeyRequest) -> Result<SigningKeyRecord, Status> {
        let key = request.key.ok_or_else(|| Invalid::new("key", "is required"))?;
        let (usage, id) = key_of("key.", key.r#use(), &key.mesh, &key.kid)?;
        let algorithm = match key.algorithm.as_str() {
            "" => KeyAlgorithm::Es256,
            name => name.parse().map_err(|problem: &str| Invalid::new("key.algorithm", problem))?,
        };
        if !self.durable {
            return Err(rejection(
                Code::FailedPrecondition,
                "the server has no data directory, so the key would be lost at a restart: start it with --data-dir, or \
                 give it the public key of a key of your own (tokenKeys in the access file)",
            ));
        }
        let private = SigningKey::generate(algorithm);
        let private = private.map_err(|error| Invalid::new("key.algorithm", error.to_string()))?;
        let record = SigningKeyRecord {
            id,
            usage,
            algorithm,
            private_key: private.private_key().clone(),
            creation_time: SystemTime::now(),
        };
        self.keys.add(&record).await.map_err(|error| status(&error))?;
        Ok(record)
    }

    /// Issues a token to a holder, for some time, and records that.
    async fn issue(
        &self,
        caller: &AuditedCaller,
        operation: Operation,
        requested: Result<(Subject, Duration), Invalid>,
    ) -> Result<String, Status> {
        let issue = async {
            let (subject, valid_for) = requested?;
            let holder = Principal::from(subject.clone());
            let issued = self.keys.issue(subject, SystemTime::now(), valid_for).await;
            Ok((issued.map_err(|error| status(&error))?, holder, valid_for))
        };
        let issued = issue.await.inspect_err(|status| caller.failed(operation, Target::Server, status))?;
        let (IssuedToken { token, id }, holder, valid_for) = issued;
        let lifetime = humantime::format_duration(valid_for);
        caller.done(operation, Target::Token(&id), &format_args!("for {holder}, valid for {lifetime}"));
        info!(caller = %caller.principal(), token = %id, %holder, %lifetime, "token issued");
        Ok(token)
    }

    async fn revoke(&self, request: &RevokeTokenRequest) -> Result<Revocation, Status> {
        let (id, now) = (TokenId::parse("id", &request.id)?, SystemTime::now());
        let expires = match (&*request.token, request.expires_at) {
            ("", None) => None,
            ("", Some(stated)) => Some(stated_end(stated, now)?),
            (token, None) => self.verified_end(token, &id)?,
            (_, Some(_)) => {
                return Err(Invalid::new("expires_at", "must not be set: the token states its end").into());
            }
        };
        let revocation = Revocation { id, expires: expires.unwrap_or(now + *LIFETIMES.end()) };
        self.keys.revoke(&revocation, now).await.map_err(|error| status(&error))?;
        Ok(revocation)
    }

    /// When a token ends; none if no key has signed it, because it could state anything then.
    fn verified_end(&self, token: &str, id: &TokenId) -> Result<Option<SystemTime>, Invalid> {
        let verifier = self.keys.verifier().borrow().clone();
        let identified =
            verifier.identify(token).map_err(|error| Invalid::new("token", error.to_string()))?;
        match identified {
            (found, end) if found == *id => Ok(end),
            _ => Err(Invalid::new("id", "is not the identifier of the token")),
        }
    }
}

/// The end of a token as the caller states it. A revocation that is dropped too early would make the
/// token valid again.
fn stated_end(stated: prost_types::Timestamp, now: SystemTime) -> Result<SystemTime, Invalid> {
    let end = SystemTime::try_from(stated)
        .map_err(|error| Invalid::new("expires_at", format!("is no valid time ({error})")))?;
    if end <= now || end > now + *LIFETIMES.end() {
        return Err(Invalid::new(
            "expires_at",
            "must be within 10 years from now: leave it out if it is not known",
        ));
    }
    Ok(end)
}

fn key_of(parent: &str, usage: proto::KeyUse, mesh: &str, kid: &str) -> Result<(KeyUse, KeyId), Invalid> {
    let field = |name: &str| format!("{parent}{name}");
    let mesh = convert::optional(mesh, |text| MeshName::parse(&field("mesh"), text))?;
    let usage = match (usage, mesh) {
        (proto::KeyUse::Dataplane, mesh) => KeyUse::dataplanes(mesh),
        (proto::KeyUse::User, None) => KeyUse::Users,
        (proto::KeyUse::User, Some(_)) => {
            return Err(Invalid::new(field("mesh"), "user tokens belong to no mesh: leave it empty"));
        }
        (proto::KeyUse::Unspecified, _) => {
            return Err(Invalid::new(field("use"), "must be KEY_USE_DATAPLANE or KEY_USE_USER"));
        }
    };
    Ok((usage, KeyId::parse(&field("kid"), kid)?))
}

fn key_to_proto(record: &SigningKeyRecord) -> proto::SigningKey {
    let (usage, mesh) = convert::token::key_use_to_proto(&record.usage);
    proto::SigningKey {
        kid: record.id.to_string(),
        r#use: usage.into(),
        mesh,
        algorithm: record.algorithm.name().to_owned(),
        creation_time: Some(convert::timestamp(record.creation_time)),
    }
}

fn revocation_to_proto(revocation: &Revocation) -> proto::Revocation {
    proto::Revocation {
        id: revocation.id.to_string(),
        expires_at: Some(convert::timestamp(revocation.expires)),
    }
}

/// A namespace and a mesh; all, if there is none.
type Scope = (Option<Namespace>, Option<MeshName>);

fn scope(request: &IssueDataplaneTokenRequest) -> Result<Scope, Invalid> {
    let namespace = convert::optional(&request.namespace, |text| Namespace::parse("namespace", text))?;
    Ok((namespace, convert::optional(&request.mesh, |text| MeshName::parse("mesh", text))?))
}

fn grant((namespace, mesh): Scope, request: &IssueDataplaneTokenRequest) -> Result<DataplaneGrant, Invalid> {
    Ok(DataplaneGrant {
        mesh,
        namespace,
        name: convert::optional(&request.name, |text| DataplaneName::parse("name", text))?,
        workload: convert::optional(&request.workload, |text| {
            WorkloadName::parse_kubernetes("workload", text)
        })?,
        tags: request
            .tags
            .iter()
            .map(|(key, TagValues { values })| {
                if values.is_empty() {
                    return Err(Invalid::new(format!("tags[{key:?}]"), "must have at least one value"));
                }
                for value in values {
                    Labels::parse("tags", &BTreeMap::from([(key.clone(), value.clone())]), 1)?;
                }
                Ok((key.clone(), values.iter().cloned().collect()))
            })
            .collect::<Result<_, _>>()?,
        ..DataplaneGrant::unrestricted(Proof::Token)
    })
}

fn lifetime(stated: Option<prost_types::Duration>) -> Result<Duration, Invalid> {
    let valid_for = convert::duration_within("valid_for", stated, &LIFETIMES)?;
    let valid_for = valid_for.ok_or_else(|| Invalid::new("valid_for", "is required: 1 s to 10 years"))?;
    Ok(Duration::from_secs(valid_for.as_secs()))
}

fn status(error: &TokenKeysError) -> Status {
    let message = error.to_string();
    match error {
        TokenKeysError::Exists { .. } => rejection(Code::AlreadyExists, message),
        TokenKeysError::NotFound { .. } => rejection(Code::NotFound, message),
        TokenKeysError::NoKey(_) | TokenKeysError::Key(_) => rejection(Code::FailedPrecondition, message),
        TokenKeysError::TooManyKeys | TokenKeysError::TooManyRevocations => {
            Status::resource_exhausted(message)
        }
        TokenKeysError::Store(_) => Status::unavailable(message),
    }
}
