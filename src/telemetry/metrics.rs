//! Metrics in the Prometheus format.
//!
//! Counters and histograms are updated as events happen; gauges of dataplanes and Workloads
//! are read from the registry at each scrape (`collector`).

mod audit;
mod collector;
mod connections;
mod delivery;
mod refused;
mod requests;
mod service_accounts;
mod sessions;
mod shed;
mod store;
mod tls;

use prometheus::{IntGauge, Opts, TextEncoder, core::Collector};

pub use self::{
    audit::AuditMetrics,
    connections::ConnectionMetrics,
    delivery::DeliveryMetrics,
    refused::{Listener, RefusedMetrics},
    requests::{CallMetrics, KubeMetrics},
    service_accounts::{ReviewOutcome, ServiceAccountMetrics},
    sessions::{EndReason, SessionMetrics},
    shed::ShedMetrics,
    tls::TlsMetrics,
};
use super::logs;
use crate::{persistence::StoreStatus, registry::Registry};

/// All metrics of one server. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Counters and histograms.
    events: prometheus::Registry,
    /// The source of the gauges.
    registry: Registry,
    /// The state of the data directory, if there is one.
    store: Option<StoreStatus>,
    /// Sessions of dataplanes.
    pub sessions: SessionMetrics,
    /// Delivery of changes to watchers.
    pub delivery: DeliveryMetrics,
    /// Connections, sessions and watches that were refused.
    pub shed: ShedMetrics,
    /// Connections without a request of an authenticated caller.
    pub connections: ConnectionMetrics,
    /// Requests that access control refused.
    pub refused: RefusedMetrics,
    /// Verification of `ServiceAccount` tokens.
    pub service_accounts: ServiceAccountMetrics,
    /// The audit log.
    pub audit: AuditMetrics,
    /// TLS handshakes.
    pub tls: TlsMetrics,
    /// gRPC calls.
    pub calls: CallMetrics,
    /// Requests to the Kubernetes API.
    pub kube: KubeMetrics,
}

impl Metrics {
    /// Creates the metrics of a server with this registry.
    ///
    /// # Errors
    ///
    /// If a metric's name or labels are invalid, or a name is used twice.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let shed = ShedMetrics::new()?;
        let metrics = Self {
            events: prometheus::Registry::new(),
            registry: registry.clone(),
            store: None,
            sessions: SessionMetrics::new()?,
            delivery: DeliveryMetrics::new()?,
            connections: ConnectionMetrics::new(shed.clone())?,
            shed,
            refused: RefusedMetrics::new()?,
            service_accounts: ServiceAccountMetrics::new()?,
            audit: AuditMetrics::new()?,
            tls: TlsMetrics::new()?,
            calls: CallMetrics::new()?,
            kube: KubeMetrics::new()?,
        };
        let build_info = Opts::new("headcount_build_info", "Version of this binary.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build_info = IntGauge::with_opts(build_info)?;
        build_info.set(1);
        let own: [Box<dyn Collector>; 2] =
            [Box::new(build_info), Box::new(prometheus::process_collector::ProcessCollector::for_self())];
        let collectors = own
            .into_iter()
            .chain(metrics.sessions.collectors())
            .chain(metrics.shed.collectors())
            .chain(metrics.connections.collectors())
            .chain(metrics.refused.collectors())
            .chain(metrics.service_accounts.collectors())
            .chain(metrics.audit.collectors())
            .chain(metrics.tls.collectors())
            .chain(metrics.delivery.collectors())
            .chain(metrics.calls.collectors())
            .chain(metrics.kube.collectors());
        for collector in collectors {
            metrics.events.register(collector)?;
        }
        Ok(metrics)
    }

    /// Adds the metrics of the data directory.
    #[must_use]
    pub fn with_store(self, status: StoreStatus) -> Self {
        Self { store: Some(status), ..self }
    }

    /// Returns all metrics in the Prometheus text format.
    ///
    /// With 10,000 Workloads the text has 3 MB and takes about 10 ms, so callers run this
    /// outside the async workers.
    ///
    /// # Errors
    ///
    /// If a metric can't be encoded.
    pub fn encode(&self) -> prometheus::Result<String> {
        let mut text = TextEncoder::new().encode_to_string(&self.events.gather())?;
        collector::write(&mut text, &self.registry);
        if let Some(status) = &self.store {
            store::write(&mut text, status, &self.registry);
        }
        collector::write_dropped_log_lines(&mut text, logs::dropped_lines());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        model::{Dataplane, DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL},
        registry::{
            RegistrySettings, Session,
            tests::{begin_warming, connect, reconnected},
        },
    };

    fn join(registry: &Registry, mesh: &str, name: &str, workload: Option<&str>) -> Session {
        let labels: BTreeMap<_, _> =
            workload.map(|w| (WORKLOAD_LABEL.to_owned(), w.to_owned())).into_iter().collect();
        let spec = DataplaneSpec { mesh: mesh.into(), name: name.into(), labels, ..DataplaneSpec::default() };
        connect(registry, Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()).unwrap().session
    }

    #[test]
    fn gauges_match_the_registry_and_disappear_with_the_workload() {
        let registry = Registry::new(RegistrySettings::default());
        let metrics = Metrics::new(&registry).unwrap();
        let holder = join(&registry, "default", "a", Some("web"));
        let _other = join(&registry, "other", "b", Some("web"));
        let _unnamed = join(&registry, "default", "c", None);
        let series =
            r#"headcount_dataplane_proxies_connected{mesh="default",namespace="default",workload="web"} 1"#;
        let text = metrics.encode().unwrap();
        for line in [
            series,
            r#"headcount_mesh_dataplane_proxies_registered{mesh="default"} 2"#,
            r#"headcount_mesh_dataplane_proxies_connected{mesh="other"} 1"#,
            r#"headcount_workloads{mesh="default"} 1"#,
            "headcount_workload_mesh_conflicts 1",
            "headcount_watchers 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        holder.goodbye();
        let text = metrics.encode().unwrap();
        assert!(!text.contains(r#"connected{mesh="default",namespace"#), "{text}");
        assert!(text.contains(r#"connected{mesh="other",namespace="default",workload="web"} 1"#), "{text}");
    }

    #[tokio::test]
    async fn the_warming_state_is_in_the_gauges() {
        let registry = Registry::new(RegistrySettings::default());
        let metrics = Metrics::new(&registry).unwrap();
        let values = || {
            let text = metrics.encode().unwrap();
            let value = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.unwrap().parse::<u32>().unwrap()
            };
            (value("headcount_warming"), value("headcount_warming_missing_dataplanes"))
        };
        assert_eq!(values(), (0, 0));
        begin_warming(&registry, 2, Duration::from_secs(30));
        assert_eq!(values(), (1, 2));
        reconnected(&registry);
        assert_eq!(values(), (1, 1));
        reconnected(&registry);
        assert_eq!(values(), (0, 0));
    }

    #[test]
    fn every_end_reason_has_a_series_from_the_start() {
        let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap();
        metrics.sessions.ended(EndReason::Idle);
        let text = metrics.encode().unwrap();
        assert!(text.contains("headcount_sessions_ended_total{reason=\"idle\"} 1"), "{text}");
        assert!(text.contains("headcount_sessions_ended_total{reason=\"goodbye\"} 0"), "{text}");
    }
}
