//! Metrics in Prometheus' terms.

mod collector;

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, TextEncoder,
    core::Collector,
};

use crate::registry::{Full, Registry};

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The proxy said goodbye.
    Goodbye,
    /// The stream ended: crash, network, keepalive.
    Lost,
    /// A newer session took over.
    Superseded,
    /// The server drained.
    Drained,
    /// The proxy was silent for too long.
    Idle,
    /// The proxy broke the protocol.
    Refused,
}

impl EndReason {
    /// As the metric's label has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
            Self::Drained => "drained",
            Self::Idle => "idle",
            Self::Refused => "refused",
        }
    }

    const ALL: [Self; 6] =
        [Self::Goodbye, Self::Lost, Self::Superseded, Self::Drained, Self::Idle, Self::Refused];
}

/// All metrics of one server.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What is counted as it happens.
    counted: prometheus::Registry,
    /// Whose numbers are read.
    registry: Registry,
    /// Sessions that came and went.
    pub sessions: SessionMetrics,
    /// How fast changes reach watchers.
    pub delivery: DeliveryMetrics,
    /// Who was sent away.
    pub shed: ShedMetrics,
    /// Calls by service, method and code.
    pub calls: CallMetrics,
    /// Requests to the Kubernetes API.
    pub kube: KubeMetrics,
}

impl Metrics {
    /// Metrics of a server with this registry.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            counted: prometheus::Registry::new(),
            registry: registry.clone(),
            sessions: SessionMetrics::new()?,
            delivery: DeliveryMetrics::new()?,
            shed: ShedMetrics::new()?,
            calls: CallMetrics::new()?,
            kube: KubeMetrics::new()?,
        };
        let build_info = Opts::new("headcount_build_info", "Version of this binary.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let build_info = IntGauge::with_opts(build_info)?;
        build_info.set(1);
        let collectors: [Box<dyn Collector>; 11] = [
            Box::new(build_info),
            Box::new(metrics.sessions.opened.clone()),
            Box::new(metrics.sessions.ended.clone()),
            Box::new(metrics.sessions.held.clone()),
            Box::new(metrics.shed.by_limit.clone()),
            Box::new(metrics.delivery.seconds.clone()),
            Box::new(metrics.calls.started.clone()),
            Box::new(metrics.calls.handled.clone()),
            Box::new(metrics.calls.seconds.clone()),
            Box::new(metrics.kube.requests.clone()),
            Box::new(prometheus::process_collector::ProcessCollector::for_self()),
        ];
        for collector in collectors {
            metrics.counted.register(collector)?;
        }
        Ok(metrics)
    }

    /// The text that Prometheus scrapes. With 10,000 Workloads it is 3 MB and
    /// takes some 10 ms, so not where others wait.
    pub fn encode(&self) -> prometheus::Result<String> {
        let mut text = TextEncoder::new().encode_to_string(&self.counted.gather())?;
        collector::write(&mut text, &self.registry);
        Ok(text)
    }
}

/// Sessions that came and went.
#[derive(Debug, Clone)]
pub struct SessionMetrics {
    opened: IntCounter,
    ended: IntCounterVec,
    held: IntCounter,
}

impl SessionMetrics {
    fn new() -> prometheus::Result<Self> {
        let ended = Opts::new(
            "headcount_sessions_ended_total",
            "Sessions that ended, by reason: goodbye, lost, superseded, drained, idle, refused.",
        );
        let ended = IntCounterVec::new(ended, &["reason"])?;
        // A series that begins with its first event has no rate for it.
        for reason in EndReason::ALL {
            ended.with_label_values(&[reason.as_str()]);
        }
        let opened = IntCounter::new("headcount_sessions_opened_total", "Sessions that were opened.")?;
        let held = IntCounter::new(
            "headcount_health_reports_held_total",
            "Reports whose change of health was held back, because the dataplane's last one was less than the flap \
             interval ago.",
        )?;
        Ok(Self { opened, ended, held })
    }

    /// A session was opened.
    pub fn opened(&self) {
        self.opened.inc();
    }

    /// A report was held back.
    pub fn held(&self) {
        self.held.inc();
    }

    /// A session ended.
    pub fn ended(&self, reason: EndReason) {
        self.ended.with_label_values(&[reason.as_str()]).inc();
    }
}

/// Who was sent away because a limit was reached.
#[derive(Debug, Clone)]
pub struct ShedMetrics {
    by_limit: IntCounterVec,
}

impl ShedMetrics {
    /// The limit of connections, by its setting.
    pub const CONNECTIONS: &str = "max-connections";
    /// The limit of the Kubernetes API's connections, by its setting.
    pub const KUBE_CONNECTIONS: &str = "max-kube-connections";

    fn new() -> prometheus::Result<Self> {
        let by_limit = Opts::new(
            "headcount_shed_total",
            "Connections, sessions and watches that were refused because a limit was reached, by the limit's setting.",
        );
        let by_limit = IntCounterVec::new(by_limit, &["limit"])?;
        for limit in Full::SETTINGS.into_iter().chain([Self::CONNECTIONS, Self::KUBE_CONNECTIONS]) {
            by_limit.with_label_values(&[limit]);
        }
        Ok(Self { by_limit })
    }

    /// Somebody was refused by the limit of this setting.
    pub fn shed(&self, limit: &'static str) {
        self.by_limit.with_label_values(&[limit]).inc();
    }
}

/// 50 us, where a quick watcher is, to 15 s, where a reader hardly reads.
const DELIVERY_SECONDS: [f64; 12] =
    [0.00005, 0.00015, 0.0005, 0.0015, 0.005, 0.015, 0.05, 0.15, 0.5, 1.5, 5.0, 15.0];

/// How fast changes reach watchers.
#[derive(Debug, Clone)]
pub struct DeliveryMetrics {
    seconds: Histogram,
}

impl DeliveryMetrics {
    fn new() -> prometheus::Result<Self> {
        let opts = HistogramOpts::new(
            "headcount_change_delivery_seconds",
            "From the stamping of a change to handing it to a watcher's transport; one sample per message, of its \
             oldest change.",
        );
        let opts = opts.buckets(DELIVERY_SECONDS.to_vec());
        let seconds = Histogram::with_opts(opts)?;
        Ok(Self { seconds })
    }

    /// A change of this age was handed over.
    pub fn delivered(&self, age: Duration) {
        self.seconds.observe(age.as_secs_f64());
    }
}

/// Calls by service, method and code, by the names that gRPC servers have in
/// this field (go-grpc-middleware's).
#[derive(Debug, Clone)]
pub struct CallMetrics {
    started: IntCounterVec,
    handled: IntCounterVec,
    seconds: HistogramVec,
}

impl CallMetrics {
    fn new() -> prometheus::Result<Self> {
        let method = ["grpc_type", "grpc_service", "grpc_method"];
        let started = Opts::new("grpc_server_started_total", "RPCs started on the server.");
        let handled =
            Opts::new("grpc_server_handled_total", "RPCs completed on the server, by their status code.");
        let seconds = HistogramOpts::new("grpc_server_handling_seconds", "How long unary RPCs took.");
        Ok(Self {
            started: IntCounterVec::new(started, &method)?,
            handled: IntCounterVec::new(handled, &[&method[..], &["grpc_code"]].concat())?,
            seconds: HistogramVec::new(seconds, &method)?,
        })
    }

    /// A call began.
    pub fn started(&self, method: [&str; 3]) {
        self.started.with_label_values(&method).inc();
    }

    /// A call ended with a code, as gRPC's documentation spells it; a unary one
    /// after a time.
    pub fn handled(&self, method: [&str; 3], code: &str, took: Option<Duration>) {
        let [kind, service, name] = method;
        self.handled.with_label_values(&[kind, service, name, code]).inc();
        if let Some(took) = took {
            self.seconds.with_label_values(&method).observe(took.as_secs_f64());
        }
    }
}

/// Requests to the Kubernetes API, by what Kubernetes' own server tells them apart.
#[derive(Debug, Clone)]
pub struct KubeMetrics {
    requests: IntCounterVec,
}

impl KubeMetrics {
    fn new() -> prometheus::Result<Self> {
        let requests = Opts::new(
            "headcount_kube_requests_total",
            "Requests to the Kubernetes API that were answered, by verb, resource and HTTP status code; a watch is \
             answered when it begins.",
        );
        Ok(Self { requests: IntCounterVec::new(requests, &["verb", "resource", "code"])? })
    }

    /// A request was answered.
    pub fn answered(&self, verb: &'static str, resource: &'static str, code: u16) {
        self.requests.with_label_values(&[verb, resource, &code.to_string()]).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        model::{Dataplane, DataplaneLimits, DataplaneSpec, WORKLOAD_LABEL},
        registry::{RegistrySettings, Session},
    };

    fn join(registry: &Registry, mesh: &str, name: &str, workload: Option<&str>) -> Session {
        let labels: BTreeMap<_, _> =
            workload.map(|w| (WORKLOAD_LABEL.to_owned(), w.to_owned())).into_iter().collect();
        let spec = DataplaneSpec { mesh: mesh.into(), name: name.into(), labels, ..DataplaneSpec::default() };
        registry.hello(Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()).unwrap().session
    }

    #[test]
    fn gauges_are_what_the_registry_says_and_go_with_the_workload() {
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

    #[test]
    fn every_reason_has_a_series_from_the_start() {
        let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap();
        metrics.sessions.ended(EndReason::Idle);
        let text = metrics.encode().unwrap();
        assert!(text.contains("headcount_sessions_ended_total{reason=\"idle\"} 1"), "{text}");
        assert!(text.contains("headcount_sessions_ended_total{reason=\"goodbye\"} 0"), "{text}");
    }
}
