//! `DataplaneService`: the sessions of dataplanes, and the listing of single dataplanes.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::page_size;
use crate::{
    config::Limits,
    convert,
    grpc::session::{AgentStream, SessionAdmission},
    model::{
        Dataplane, DataplaneKey, DataplaneName, Invalid, LabelSelector, MeshName, Namespace, WorkloadName,
    },
    proto::{
        DataplaneOverview, ListDataplanesRequest, ListDataplanesResponse, SessionRequest, SessionResponse,
        server::dataplane_service_server::DataplaneService,
    },
    registry::{DataplaneView, Registry, RetryBehavior},
};

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Dataplanes {
    pub(in crate::grpc) registry: Registry,
    pub(in crate::grpc) admission: SessionAdmission,
    pub(in crate::grpc) limits: Arc<Limits>,
}

#[tonic::async_trait]
impl DataplaneService for Dataplanes {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponse, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (admission, limits) = (self.admission.clone(), Arc::clone(&self.limits));
        let peer = request.remote_addr();
        self.admission.check_rate(peer, RetryBehavior::HonorsRetryAfter)?;
        let stream = AgentStream::new(admission, limits, peer, request.into_inner());
        Ok(Response::new(Box::pin(stream.responses())))
    }

    async fn list_dataplanes(
        &self,
        request: Request<ListDataplanesRequest>,
    ) -> Result<Response<ListDataplanesResponse>, Status> {
        let request = request.into_inner();
        let filter = DataplaneFilter::parse(&request)?;
        let after = convert::optional(&request.page_token, dataplane_key)?;
        let matches = |dataplane: &Dataplane| filter.matches(dataplane);
        let (views, next_after) =
            self.registry.dataplanes(matches, page_size(request.page_size), after.as_ref());
        Ok(Response::new(ListDataplanesResponse {
            dataplanes: views.iter().map(overview).collect(),
            next_page_token: next_after.map(|after| after.to_string()).unwrap_or_default(),
        }))
    }
}

/// The filter of a listing.
struct DataplaneFilter {
    mesh: Option<MeshName>,
    namespace: Option<Namespace>,
    workload: Option<WorkloadName>,
    selector: LabelSelector,
}

impl DataplaneFilter {
    fn parse(request: &ListDataplanesRequest) -> Result<Self, Invalid> {
        Ok(Self {
            mesh: convert::optional(&request.mesh, |text| MeshName::parse("mesh", text))?,
            namespace: convert::optional(&request.namespace, |text| Namespace::parse("namespace", text))?,
            workload: convert::optional(&request.workload, |text| {
                WorkloadName::parse_kubernetes("workload", text)
            })?,
            selector: convert::selector_from_proto("label_selector", &request.label_selector)?,
        })
    }

    fn matches(&self, dataplane: &Dataplane) -> bool {
        self.mesh.as_ref().is_none_or(|mesh| *mesh == dataplane.key.mesh)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == dataplane.key.namespace)
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

fn overview(view: &DataplaneView) -> DataplaneOverview {
    let dataplane = &view.dataplane;
    DataplaneOverview {
        dataplane: Some(convert::dataplane_to_proto(dataplane)),
        workload: dataplane.workload_key().map(|key| convert::workload_ref(&key, &dataplane.key.mesh)),
        connected: view.session.is_some(),
        healthy: view.healthy,
        health: view.session.map(|(_, report)| convert::report_to_proto(report, dataplane)),
        last_transition_time: Some(convert::timestamp(view.since)),
        agent_version: dataplane.agent_version.to_string(),
        session_id: view.session.map(|(id, _)| id.to_string()).unwrap_or_default(),
    }
}
