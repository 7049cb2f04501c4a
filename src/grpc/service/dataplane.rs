//! `DataplaneService`: the sessions of dataplanes, and the listing of single dataplanes.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::{
    page::{page_size, within_page},
    warming::warming,
};
use crate::{
    access::{Action, Object},
    config::Limits,
    convert,
    grpc::{
        access::caller,
        session::{AgentStream, SessionAdmission, StreamClient},
    },
    identity::IdentitySet,
    model::{
        Dataplane, DataplaneKey, DataplaneName, Invalid, LabelSelector, MeshName, Namespace, WorkloadName,
    },
    persistence::identities::MeshIdentities,
    proto::{
        DataplaneOverview, ListDataplanesRequest, ListDataplanesResponse, SessionRequest, SessionResponse,
        server::dataplane_service_server::DataplaneService,
    },
    registry::{DataplaneView, Registry, RetryBehavior},
    runtime::blocking::run_blocking,
};

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Dataplanes {
    registry: Registry,
    admission: SessionAdmission,
    limits: Arc<Limits>,
    identities: Arc<MeshIdentities>,
    /// Pages that are made at a time, so that sessions always have a processor.
    scans: Arc<Semaphore>,
}

impl Dataplanes {
    /// The most pages of `ListDataplanes` that are made at a time. Each uses a processor for
    /// about 0.1 s if 200,000 dataplanes are registered.
    const MAX_SCANS: usize = 1;

    pub(in crate::grpc) fn new(
        registry: Registry,
        admission: SessionAdmission,
        limits: Arc<Limits>,
        identities: Arc<MeshIdentities>,
    ) -> Self {
        Self { registry, admission, limits, identities, scans: Arc::new(Semaphore::new(Self::MAX_SCANS)) }
    }
}

#[tonic::async_trait]
impl DataplaneService for Dataplanes {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponse, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (admission, limits) = (self.admission.clone(), Arc::clone(&self.limits));
        self.admission.check_rate(request.remote_addr(), RetryBehavior::HonorsRetryAfter)?;
        let client = StreamClient::of(&request)?;
        let stream = AgentStream::new(admission, limits, client, request.into_inner());
        Ok(Response::new(Box::pin(stream.responses())))
    }

    async fn list_dataplanes(
        &self,
        request: Request<ListDataplanesRequest>,
    ) -> Result<Response<ListDataplanesResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let filter = DataplaneFilter::parse(&request)?;
        let object = Object::Scope(filter.namespace.as_ref(), filter.mesh.as_ref());
        caller.allow(Action::ReadDataplanes, object)?;
        let after = convert::optional(&request.page_token, dataplane_key)?;
        let size = page_size(request.page_size);
        let warming = warming(&self.registry);
        let keys = filter.keys(&self.registry);
        // The semaphore is never closed. The SPIFFE IDs of a page can take longer than its dataplanes.
        let _permit = if keys.is_none() { self.scans.acquire().await.ok() } else { None };
        let (views, next_after) = if let Some(keys) = keys {
            self.look_up(keys, &filter, size, after.as_ref())
        } else {
            let matches = |dataplane: &Dataplane| filter.matches(dataplane);
            run_blocking(|| self.registry.dataplanes(matches, size, after.as_ref()))
        };
        let identities = self.identities.current();
        let page = run_blocking(|| page(&views, &identities, next_after));
        Ok(Response::new(ListDataplanesResponse { warming, ..page }))
    }
}

impl Dataplanes {
    /// The page of those of these dataplanes that are registered and match.
    fn look_up(
        &self,
        keys: Vec<DataplaneKey>,
        filter: &DataplaneFilter,
        size: usize,
        after: Option<&DataplaneKey>,
    ) -> (Vec<DataplaneView>, Option<DataplaneKey>) {
        let later = keys.into_iter().filter(|key| after.is_none_or(|after| key > after));
        let found = later.filter_map(|key| self.registry.dataplane(&key));
        let mut matching = found.filter(|view| filter.matches(&view.dataplane));
        let views: Vec<_> = matching.by_ref().take(size).collect();
        let next_after = matching.next().and_then(|_| Some(views.last()?.dataplane.key.clone()));
        (views, next_after)
    }
}

/// As many of the dataplanes as fit into one message. The next page begins after the last one,
/// or at `next_after` if all fit.
fn page(
    views: &[DataplaneView],
    identities: &IdentitySet,
    next_after: Option<DataplaneKey>,
) -> ListDataplanesResponse {
    let dataplanes = within_page(views.iter().map(|view| overview(view, identities)));
    let next_after = if dataplanes.len() < views.len() {
        views[..dataplanes.len()].last().map(|last| last.dataplane.key.clone())
    } else {
        next_after
    };
    let next_page_token = next_after.map(|after| after.to_string()).unwrap_or_default();
    ListDataplanesResponse { dataplanes, next_page_token, warming: None }
}

/// The filter of a listing.
struct DataplaneFilter {
    mesh: Option<MeshName>,
    namespace: Option<Namespace>,
    name: Option<DataplaneName>,
    workload: Option<WorkloadName>,
    selector: LabelSelector,
}

impl DataplaneFilter {
    fn parse(request: &ListDataplanesRequest) -> Result<Self, Invalid> {
        Ok(Self {
            mesh: convert::optional(&request.mesh, |text| MeshName::parse("mesh", text))?,
            namespace: convert::optional(&request.namespace, |text| Namespace::parse("namespace", text))?,
            name: convert::optional(&request.name, |text| DataplaneName::parse("name", text))?,
            workload: convert::optional(&request.workload, |text| {
                WorkloadName::parse_kubernetes("workload", text)
            })?,
            selector: convert::selector_from_proto("label_selector", &request.label_selector)?,
        })
    }

    /// All keys that can match, in their order, if namespace and name are given: one for
    /// each mesh. They are looked up directly.
    fn keys(&self, registry: &Registry) -> Option<Vec<DataplaneKey>> {
        let (namespace, name) = (self.namespace.as_ref()?, self.name.as_ref()?);
        let meshes = self.mesh.clone().map_or_else(|| registry.meshes(), |mesh| vec![mesh]);
        let key = |mesh| DataplaneKey { mesh, namespace: namespace.clone(), name: name.clone() };
        Some(meshes.into_iter().map(key).collect())
    }

    fn matches(&self, dataplane: &Dataplane) -> bool {
        self.mesh.as_ref().is_none_or(|mesh| *mesh == dataplane.key.mesh)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == dataplane.key.namespace)
            && self.name.as_ref().is_none_or(|name| *name == dataplane.key.name)
            && self.workload.as_ref().is_none_or(|workload| dataplane.workload.as_ref() == Some(workload))
            && self.selector.matches(|key| dataplane.labels.get(key))
    }
}

/// Reads a page token: the key of the last dataplane of the previous page.
fn dataplane_key(token: &str) -> Result<DataplaneKey, Invalid> {
    let field = "page_token";
    let foreign = || Invalid::new(field, "is not a token of this service; leave it empty for the first page");
    let (mesh, rest) = token.split_once('/').ok_or_else(foreign)?;
    let (namespace, name) = rest.split_once('/').ok_or_else(foreign)?;
    let parse = || {
        Ok::<_, Invalid>(DataplaneKey {
            mesh: MeshName::parse(field, mesh)?,
            namespace: Namespace::parse(field, namespace)?,
            name: DataplaneName::parse(field, name)?,
        })
    };
    parse().map_err(|_| foreign())
}

fn overview(view: &DataplaneView, identities: &IdentitySet) -> DataplaneOverview {
    let dataplane = &view.dataplane;
    let (spiffe_id, problem) = match identities.identify(dataplane) {
        None => (None, None),
        Some(Ok(id)) => (Some(id), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    DataplaneOverview {
        dataplane: Some(convert::dataplane_to_proto(dataplane)),
        workload: dataplane.workload_key().map(|key| convert::workload_ref(&key, &dataplane.key.mesh)),
        connected: view.session.is_some(),
        healthy: view.healthy,
        health: view.session.map(|(_, report)| convert::report_to_proto(report, dataplane)),
        last_transition_time: Some(convert::timestamp(view.since)),
        agent_version: dataplane.agent_version.to_string(),
        session_id: view.session.map(|(id, _)| id.to_string()).unwrap_or_default(),
        spiffe_id: spiffe_id.map(|id| id.to_string()).unwrap_or_default(),
        identity_problem: problem.map(|problem| problem.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        grpc::access::tests::trusted,
        proto::Warming,
        registry::{
            RegistrySettings,
            tests::{begin_warming, reconnected},
        },
        store::MemoryStore,
        telemetry::metrics::Metrics,
    };

    #[tokio::test(start_paused = true)]
    async fn a_listing_states_that_the_server_is_warming() {
        let registry = Registry::new(RegistrySettings::default());
        let metrics = Metrics::new(&registry).unwrap();
        let admission = SessionAdmission::new(registry.clone(), &metrics, CancellationToken::new());
        let identities = Arc::new(MeshIdentities::load(Arc::new(MemoryStore::new())).await.unwrap());
        let service = Dataplanes::new(registry.clone(), admission, Arc::new(Limits::default()), identities);
        let list = || async {
            let request = trusted(ListDataplanesRequest::default());
            service.list_dataplanes(request).await.unwrap().into_inner().warming
        };
        assert_eq!(list().await, None);
        begin_warming(&registry, 1, Duration::from_secs(30));
        let remaining = Some(convert::duration(Duration::from_secs(30)));
        assert_eq!(list().await, Some(Warming { missing_dataplanes: 1, remaining }));
        reconnected(&registry);
        assert_eq!(list().await, None);
    }
}
