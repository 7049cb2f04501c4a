//! `WorkloadService`: reads, watches and waits.

mod watch;

use std::{ops::RangeInclusive, pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::watch::{Watch, confirmation};
use super::{page::page_size, warming::warming};
use crate::{
    access::{Action, Object, OwnedObject},
    convert,
    grpc::{
        access::{accounts, caller},
        connection::{ConnectionAge, Lifetime, until_end},
        status::limit_reached,
    },
    model::{Counts, Filter, Invalid, MeshName, Workload, WorkloadKey},
    proto::{
        Encoded, GetWorkloadRequest, ListWorkloadsRequest, WaitForWorkloadRequest, WatchWorkloadsRequest,
        server::{
            GetWorkloadResponse, ListWorkloadsResponse, WaitForWorkloadResponse,
            workload_service_server::WorkloadService,
        },
    },
    registry::token::{self, PageToken},
    registry::{Accounts, Position, Registry, WarmingStatus},
    runtime::blocking::run_blocking,
    telemetry::metrics::{DeliveryMetrics, Metrics, ShedMetrics},
};

/// The timeout of `WaitForWorkload` if the request has none.
const DEFAULT_WAIT: Duration = Duration::from_mins(1);
/// The timeouts that a request may have.
const WAITS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Workloads {
    registry: Registry,
    metrics: DeliveryMetrics,
    shed: ShedMetrics,
    shutdown: CancellationToken,
}

impl Workloads {
    /// Watches end when `shutdown` is cancelled.
    pub(in crate::grpc) fn new(registry: Registry, metrics: &Metrics, shutdown: CancellationToken) -> Self {
        Self { registry, metrics: metrics.delivery.clone(), shed: metrics.shed.clone(), shutdown }
    }

    /// A Workload, if the requested mesh holds it.
    fn find(&self, key: &WorkloadKey, mesh: Option<&MeshName>) -> (Option<std::sync::Arc<Workload>>, u64) {
        let (workload, revision) = self.registry.get(key);
        (workload.filter(|workload| mesh.is_none_or(|mesh| *mesh == workload.identity.mesh)), revision)
    }
}

#[tonic::async_trait]
impl WorkloadService for Workloads {
    async fn get_workload(
        &self,
        request: Request<GetWorkloadRequest>,
    ) -> Result<Response<GetWorkloadResponse>, Status> {
        let caller = caller(&request)?;
        let GetWorkloadRequest { name, namespace, mesh } = request.into_inner();
        let key = WorkloadKey::parse(&namespace, &name)?;
        let mesh = convert::optional(&mesh, |text| MeshName::parse("mesh", text))?;
        caller.allow(Action::ReadWorkloads, Object::Scope(Some(&key.namespace), mesh.as_ref()))?;
        let warming = warming(&self.registry);
        let (workload, revision) = self.find(&key, mesh.as_ref());
        let workload = workload.ok_or_else(|| not_found(&key, mesh.as_ref()))?;
        let workload = convert::encoded(&workload);
        Ok(Response::new(GetWorkloadResponse { workload, revision, warming }))
    }

    async fn list_workloads(
        &self,
        request: Request<ListWorkloadsRequest>,
    ) -> Result<Response<ListWorkloadsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let filter = convert::filter_from_proto(&request.filter.unwrap_or_default())?;
        caller.allow(Action::ReadWorkloads, scope(&filter).get())?;
        let fingerprint = filter.fingerprint();
        let size = page_size(request.page_size);
        let (at, after) = match token::read_page(&self.registry, &request.page_token, fingerprint)? {
            PageToken::First => (None, None),
            PageToken::Next { revision, after } => (Some(revision), Some(after)),
            PageToken::Stale => {
                return Err(Status::aborted(
                    "page_token: the server has restarted: list again from the first page",
                ));
            }
        };
        let warming = warming(&self.registry);
        let page = run_blocking(|| self.registry.list(&filter, size, at, after.as_ref()))?;
        let next =
            page.next_after.map(|after| token::page(&self.registry, page.revision, fingerprint, &after));
        Ok(Response::new(ListWorkloadsResponse {
            workloads: page.workloads.iter().map(|workload| convert::encoded(workload)).collect(),
            next_page_token: next.unwrap_or_default(),
            revision: page.revision,
            resume_token: token::resume(&self.registry, page.revision, fingerprint),
            warming,
        }))
    }

    type WatchWorkloadsStream = Pin<Box<dyn Stream<Item = Result<Encoded, Status>> + Send>>;

    async fn watch_workloads(
        &self,
        request: Request<WatchWorkloadsRequest>,
    ) -> Result<Response<Self::WatchWorkloadsStream>, Status> {
        let (caller, age) = (caller(&request)?, ConnectionAge::of(&request));
        let request = request.into_inner();
        let filter = convert::filter_from_proto(&request.filter.unwrap_or_default())?;
        let right = caller.allow_live(Action::ReadWorkloads, scope(&filter))?;
        let lifetime = Lifetime::new(&self.shutdown, age, right);
        let fingerprint = filter.fingerprint();
        let keepalive = convert::keepalive_interval(request.keepalive_interval)?;
        let from = token::read_resume(&self.registry, &request.resume_token, fingerprint)?;
        let mut watcher = run_blocking(|| self.registry.watch_for(&accounts(&caller), filter, from))
            .map_err(|limit| limit_reached(&self.shed, &limit))?;
        if let Some(interval) = keepalive {
            watcher = watcher.with_bookmarks_within(interval);
        }
        let watch = Watch::new(self.registry.clone(), self.metrics.clone(), watcher, fingerprint);
        let batches = stream::unfold(watch, |mut watch| async { Some((watch.next().await, watch)) });
        let responses = stream::iter(keepalive.map(confirmation)).chain(batches);
        Ok(Response::new(Box::pin(until_end(responses, lifetime))))
    }

    async fn wait_for_workload(
        &self,
        request: Request<WaitForWorkloadRequest>,
    ) -> Result<Response<WaitForWorkloadResponse>, Status> {
        let (caller, age) = (caller(&request)?, ConnectionAge::of(&request));
        let wait = Wait::parse(&request.into_inner())?;
        let object = OwnedObject::Scope(Some(wait.key.namespace.clone()), wait.mesh.clone());
        let lifetime = Lifetime::new(&self.shutdown, age, caller.allow_live(Action::ReadWorkloads, object)?);
        let client = accounts(&caller);
        tokio::select! {
            biased;
            end = lifetime.end() => Err(end),
            found = self.wait(&wait, &client) => found.map(Response::new),
        }
    }
}

/// What a filter selects, as far as it matters for access.
fn scope(filter: &Filter) -> OwnedObject {
    OwnedObject::Scope(filter.namespace.clone(), filter.mesh.clone())
}

/// A parsed `WaitForWorkload` request.
struct Wait {
    key: WorkloadKey,
    mesh: Option<MeshName>,
    connected: u32,
    healthy: u32,
    deadline: Instant,
}

impl Wait {
    fn parse(request: &WaitForWorkloadRequest) -> Result<Self, Invalid> {
        if request.minimum_connected == 0 && request.minimum_healthy == 0 {
            return Err(Invalid::new("minimum_healthy", "set it or minimum_connected to 1 or more"));
        }
        let timeout = convert::duration_within("timeout", request.timeout, &WAITS)?;
        Ok(Self {
            key: WorkloadKey::parse(&request.namespace, &request.name)?,
            mesh: convert::optional(&request.mesh, |text| MeshName::parse("mesh", text))?,
            connected: request.minimum_connected,
            healthy: request.minimum_healthy,
            deadline: Instant::now() + timeout.unwrap_or(DEFAULT_WAIT),
        })
    }
}

impl Workloads {
    async fn wait(&self, wait: &Wait, client: &Accounts) -> Result<WaitForWorkloadResponse, Status> {
        let filter = Filter {
            namespace: Some(wait.key.namespace.clone()),
            name: Some(wait.key.name.clone()),
            ..Filter::default()
        };
        let watcher = self.registry.watch_for(client, filter, Some(Position(self.registry.head())));
        let mut watcher = watcher.map_err(|limit| limit_reached(&self.shed, &limit))?;
        loop {
            let (workload, revision) = self.find(&wait.key, wait.mesh.as_ref());
            let counts = workload.as_ref().map(|workload| workload.counts).unwrap_or_default();
            if let Some(workload) = workload
                && counts.connected >= wait.connected
                && counts.healthy >= wait.healthy
            {
                return Ok(WaitForWorkloadResponse { workload: convert::encoded(&workload), revision });
            }
            if timeout_at(wait.deadline, watcher.next()).await.is_err() {
                return Err(timed_out(wait, counts, self.registry.warming()));
            }
        }
    }
}

fn timed_out(wait: &Wait, counts: Counts, warming: Option<WarmingStatus>) -> Status {
    let wanted = [("connected", wait.connected), ("healthy", wait.healthy)];
    let wanted: Vec<_> =
        wanted.iter().filter(|(_, least)| *least > 0).map(|(name, n)| format!("{n} {name}")).collect();
    let warming = warming.map(|status| format!("; {status}")).unwrap_or_default();
    Status::deadline_exceeded(format!(
        "workload {}: wanted {}; has {} connected, {} healthy, {} total{warming}",
        wait.key,
        wanted.join(" and "),
        counts.connected,
        counts.healthy,
        counts.total
    ))
}

fn not_found(key: &WorkloadKey, mesh: Option<&MeshName>) -> Status {
    let within = mesh.map(|mesh| format!(" in mesh {mesh}")).unwrap_or_default();
    Status::not_found(format!("workload {key} not found{within}: no registered dataplane carries its name"))
}

#[cfg(test)]
mod tests;
