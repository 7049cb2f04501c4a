//! `EventService`: what an operator should know.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    access::{Action, Object, OwnedObject},
    convert,
    grpc::{
        access::{accounts, caller},
        connection::{ConnectionAge, Lifetime, until_end},
        status::limit_reached,
    },
    model::{Invalid, Namespace, WorkloadName},
    proto::{
        self, EventType, ListEventsRequest, ListEventsResponse, WatchEventsRequest, WatchEventsResponse,
        WorkloadRef, server::event_service_server::EventService,
    },
    registry::events::{Event, Regarding},
    registry::{Registry, WatchPermit},
    runtime::{blocking::run_blocking, resettable_timer::ResettableTimer},
    telemetry::metrics::{Metrics, ShedMetrics},
};

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Events {
    registry: Registry,
    shed: ShedMetrics,
    shutdown: CancellationToken,
}

impl Events {
    /// Watches end when `shutdown` is cancelled.
    pub(in crate::grpc) fn new(registry: Registry, metrics: &Metrics, shutdown: CancellationToken) -> Self {
        Self { registry, shed: metrics.shed.clone(), shutdown }
    }
}

#[tonic::async_trait]
impl EventService for Events {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let filter = EventFilter::parse(&request.namespace, &request.workload)?;
        caller.allow(Action::ReadEvents, Object::Scope(filter.namespace.as_ref(), None))?;
        let events = run_blocking(|| filter.select(&self.registry.events().after(0).0));
        Ok(Response::new(ListEventsResponse { events }))
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<WatchEventsResponse, Status>> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let (caller, age) = (caller(&request)?, ConnectionAge::of(&request));
        let request = request.into_inner();
        let keepalive = convert::keepalive_interval(request.keepalive_interval)?;
        let filter = EventFilter::parse(&request.namespace, &request.workload)?;
        let object = OwnedObject::Scope(filter.namespace.clone(), None);
        let lifetime = Lifetime::new(&self.shutdown, age, caller.allow_live(Action::ReadEvents, object)?);
        let watch = Watch {
            filter,
            _permit: self
                .registry
                .permit_watch(&accounts(&caller))
                .map_err(|limit| limit_reached(&self.shed, &limit))?,
            announced: self.registry.events().subscribe(),
            registry: self.registry.clone(),
            seen: 0,
            keepalive,
            keepalive_timer: ResettableTimer::default(),
        };
        let confirmation = keepalive.map(|interval| WatchEventsResponse {
            keepalive_interval: Some(convert::duration(interval)),
            ..WatchEventsResponse::default()
        });
        let events = stream::unfold(watch, |mut watch| async { Some((watch.next().await?, watch)) });
        let responses = stream::iter(confirmation).chain(events);
        Ok(Response::new(Box::pin(until_end(responses, lifetime))))
    }
}

/// One watcher's stream: a cursor into the events.
struct Watch {
    registry: Registry,
    filter: EventFilter,
    announced: watch::Receiver<u64>,
    seen: u64,
    keepalive: Option<Duration>,
    keepalive_timer: ResettableTimer,
    _permit: WatchPermit,
}

impl Watch {
    /// The next events, or a response without events if a keep-alive is due.
    async fn next(&mut self) -> Option<WatchEventsResponse> {
        let keepalive_at = self.keepalive.map(|interval| Instant::now() + interval);
        loop {
            self.announced.borrow_and_update();
            let (events, seen) = self.registry.events().after(self.seen);
            self.seen = seen;
            let events = self.filter.select(&events);
            if !events.is_empty() {
                return Some(WatchEventsResponse { events, keepalive_interval: None });
            }
            tokio::select! {
                biased;
                // Fails only after the registry is dropped, which `self` holds.
                changed = self.announced.changed() => changed.ok()?,
                () = self.keepalive_timer.sleep_until(keepalive_at) => {
                    return Some(WatchEventsResponse::default());
                }
            }
        }
    }
}

/// The filter of a listing or a watch.
struct EventFilter {
    namespace: Option<Namespace>,
    workload: Option<WorkloadName>,
}

impl EventFilter {
    fn parse(namespace: &str, workload: &str) -> Result<Self, Invalid> {
        Ok(Self {
            namespace: convert::optional(namespace, |text| Namespace::parse("namespace", text))?,
            workload: convert::optional(workload, |text| WorkloadName::parse_kubernetes("workload", text))?,
        })
    }

    fn select(&self, events: &[Arc<Event>]) -> Vec<proto::Event> {
        let matches = |event: &&Arc<Event>| {
            let workload = event.regarding.workload().map(|key| &key.name);
            self.namespace.as_ref().is_none_or(|namespace| namespace == event.regarding.namespace())
                && (self.workload.is_none() || self.workload.as_ref() == workload)
        };
        events.iter().filter(matches).map(|event| to_proto(event)).collect()
    }
}

fn to_proto(event: &Event) -> proto::Event {
    let (name, dataplane) = match &event.regarding {
        Regarding::Workload(key) => (key.name.to_string(), String::new()),
        Regarding::Proxy(proxy) => (String::new(), proxy.name().to_owned()),
    };
    proto::Event {
        uid: event.uid.to_string(),
        r#type: EventType::Warning.into(),
        reason: event.reason.as_str().to_owned(),
        message: event.message.clone(),
        regarding: Some(WorkloadRef {
            name,
            namespace: event.regarding.namespace().to_string(),
            mesh: event.mesh.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
        count: event.count,
        first_time: Some(convert::timestamp(event.first_time)),
        last_time: Some(convert::timestamp(event.last_time)),
        dataplane,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use prost::Message as _;

    use super::*;
    use crate::{
        model::{MeshName, WorkloadKey},
        registry::{RegistrySettings, events::Reason},
    };

    #[test]
    fn all_events_fit_into_the_largest_message_that_clients_accept() {
        let registry = Registry::new(RegistrySettings::default());
        let mesh = MeshName::parse("", &"m".repeat(63)).unwrap();
        for n in 0..1_000 {
            let name = format!("{n:063}.{}.{}.{}", "x".repeat(63), "x".repeat(63), "x".repeat(61));
            let key = WorkloadKey::parse(&"n".repeat(63), &name).unwrap();
            registry.events().record(
                Reason::MultipleMeshesDetected,
                Regarding::Workload(key),
                Some(mesh.clone()),
                "x".repeat(10_000),
                SystemTime::now(),
            );
        }
        let (events, _) = registry.events().after(0);
        assert_eq!(events.len(), 1_000);
        let filter = EventFilter { namespace: None, workload: None };
        let bytes = ListEventsResponse { events: filter.select(&events) }.encoded_len();
        assert!(bytes < 4 * 1024 * 1024, "{bytes}");
    }
}
