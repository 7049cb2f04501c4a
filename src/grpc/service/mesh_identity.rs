//! `MeshIdentityService`: the rules that give dataplanes their SPIFFE IDs.

use std::{sync::Arc, time::SystemTime};

use tonic::{Code, Request, Response, Status};
use tracing::info;

use crate::{
    access::{Action, Object},
    audit::{AuditedCaller, Operation, Subject},
    convert::{self, MeshIdentityDocument, mesh_identity_from_proto, mesh_identity_to_proto},
    grpc::access::caller,
    identity::MeshIdentityRecord,
    model::{Invalid, MeshName, Namespace, ResourceKey},
    net::rejection::rejection,
    persistence::identities::{Applied, MeshIdentities, MeshIdentityError},
    proto::{
        ApplyMeshIdentityRequest, ApplyMeshIdentityResponse, Change, DeleteMeshIdentityRequest,
        DeleteMeshIdentityResponse, GetMeshIdentityRequest, GetMeshIdentityResponse,
        ListMeshIdentitiesRequest, ListMeshIdentitiesResponse,
        server::mesh_identity_service_server::MeshIdentityService,
    },
};

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Identities {
    identities: Arc<MeshIdentities>,
    /// Whether they survive a restart.
    durable: bool,
}

impl Identities {
    pub(in crate::grpc) fn new(identities: Arc<MeshIdentities>, durable: bool) -> Self {
        Self { identities, durable }
    }
}

#[tonic::async_trait]
impl MeshIdentityService for Identities {
    async fn apply_mesh_identity(
        &self,
        request: Request<ApplyMeshIdentityRequest>,
    ) -> Result<Response<ApplyMeshIdentityResponse>, Status> {
        let caller = caller(&request)?;
        let (document, expected) = parse(&request.into_inner())?;
        let MeshIdentityDocument { identity, warnings, .. } = &document;
        let (key, warnings) = (identity.key.clone(), warnings.clone());
        let action = Action::WriteMeshIdentities;
        caller.allow(action, object(action, &key, Some(&identity.mesh)))?;
        let subject = Subject::MeshIdentity(&key);
        let applied = self.identities.apply(document, expected, SystemTime::now()).await;
        let (record, applied) = applied
            .map_err(|error| status(&error))
            .inspect_err(|status| caller.failed(Operation::ApplyMeshIdentity, subject, status))?;
        let change = match applied {
            Applied::Created => Change::Created,
            Applied::Configured => Change::Configured,
            Applied::Unchanged => Change::Unchanged,
        };
        if applied != Applied::Unchanged {
            caller.done(
                Operation::ApplyMeshIdentity,
                subject,
                &format_args!("generation {}", record.generation),
            );
            info!(caller = %caller.principal(), meshidentity = %key, ?applied, "MeshIdentity applied");
        }
        Ok(Response::new(ApplyMeshIdentityResponse {
            mesh_identity: Some(mesh_identity_to_proto(&record)),
            change: change.into(),
            warnings,
            durable: self.durable,
        }))
    }

    async fn get_mesh_identity(
        &self,
        request: Request<GetMeshIdentityRequest>,
    ) -> Result<Response<GetMeshIdentityResponse>, Status> {
        let caller = caller(&request)?;
        let GetMeshIdentityRequest { namespace, name } = request.into_inner();
        let record = self.find(&caller, Action::ReadMeshIdentities, &namespace, &name)?;
        Ok(Response::new(GetMeshIdentityResponse { mesh_identity: Some(mesh_identity_to_proto(&record)) }))
    }

    async fn list_mesh_identities(
        &self,
        request: Request<ListMeshIdentitiesRequest>,
    ) -> Result<Response<ListMeshIdentitiesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let namespace = convert::optional(&request.namespace, |text| Namespace::parse("namespace", text))?;
        let mesh = convert::optional(&request.mesh, |text| MeshName::parse("mesh", text))?;
        caller.allow(Action::ReadMeshIdentities, Object::Scope(namespace.as_ref(), mesh.as_ref()))?;
        let matches = |record: &&MeshIdentityRecord| {
            let identity = &record.identity;
            namespace.as_ref().is_none_or(|namespace| *namespace == identity.key.namespace)
                && mesh.as_ref().is_none_or(|mesh| *mesh == identity.mesh)
        };
        let current = self.identities.current();
        let mesh_identities = current.iter().filter(matches).map(mesh_identity_to_proto).collect();
        Ok(Response::new(ListMeshIdentitiesResponse { mesh_identities }))
    }

    async fn delete_mesh_identity(
        &self,
        request: Request<DeleteMeshIdentityRequest>,
    ) -> Result<Response<DeleteMeshIdentityResponse>, Status> {
        let caller = caller(&request)?;
        let DeleteMeshIdentityRequest { namespace, name } = request.into_inner();
        let record = self.find(&caller, Action::WriteMeshIdentities, &namespace, &name)?;
        let key = &record.identity.key;
        let subject = Subject::MeshIdentity(key);
        let deleted = self.identities.delete(key, record.uid).await;
        deleted
            .map_err(|error| status(&error))
            .inspect_err(|status| caller.failed(Operation::DeleteMeshIdentity, subject, status))?;
        caller.done(Operation::DeleteMeshIdentity, subject, &"");
        info!(caller = %caller.principal(), meshidentity = %key, "MeshIdentity deleted");
        Ok(Response::new(DeleteMeshIdentityResponse {}))
    }
}

impl Identities {
    /// The `MeshIdentity` of a request, if the caller has the right to it. A caller without that right gets
    /// the same error whether it exists or not.
    fn find(
        &self,
        caller: &AuditedCaller,
        action: Action,
        namespace: &str,
        name: &str,
    ) -> Result<MeshIdentityRecord, Status> {
        let (key, current) = (ResourceKey::parse(namespace, name)?, self.identities.current());
        let allowed = |record: &&MeshIdentityRecord| {
            let object = object(action, &key, Some(&record.identity.mesh));
            caller.caller().allow(action, object).is_ok()
        };
        if let Some(record) = current.get(&key).filter(allowed) {
            return Ok(record.clone());
        }
        caller.allow(action, object(action, &key, None))?;
        Err(status(&MeshIdentityError::NotFound(key)))
    }
}

/// What a caller needs the right to. A `MeshIdentity` gives SPIFFE IDs to the dataplanes of its mesh in all
/// namespaces, so its writer needs the right to all of them.
fn object<'a>(action: Action, key: &'a ResourceKey, mesh: Option<&'a MeshName>) -> Object<'a> {
    let namespace = (action == Action::ReadMeshIdentities).then_some(&key.namespace);
    Object::Scope(namespace, mesh)
}

/// The document of a request, and the version that it replaces.
fn parse(request: &ApplyMeshIdentityRequest) -> Result<(MeshIdentityDocument, Option<u64>), Status> {
    let message = request.mesh_identity.as_ref();
    let message = message.ok_or_else(|| Invalid::new("mesh_identity", "is required"))?;
    let document = mesh_identity_from_proto(message)?;
    let version = |text: &str| {
        text.parse()
            .map_err(|_| Invalid::new("resource_version", "is not a version that a server has returned"))
    };
    let expected = convert::optional(&message.resource_version, version)?;
    Ok((document, expected))
}

fn status(error: &MeshIdentityError) -> Status {
    let message = error.to_string();
    match error {
        MeshIdentityError::NotFound(_) => rejection(Code::NotFound, message),
        MeshIdentityError::Changed { .. } => rejection(Code::Aborted, message),
        MeshIdentityError::OtherMesh { .. } => rejection(Code::FailedPrecondition, message),
        MeshIdentityError::TooMany | MeshIdentityError::TooLargeTogether => {
            Status::resource_exhausted(message)
        }
        MeshIdentityError::TooLarge(_) => Invalid::new("spec", message).into(),
        MeshIdentityError::Store(_) => Status::unavailable(message),
    }
}

#[cfg(test)]
mod tests;
