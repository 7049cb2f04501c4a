//! Sample resources for tests of the client commands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

use crate::proto;

/// A fixed Unix time in 2033, so that ages in expected texts don't change.
const NOW: i64 = 2_000_000_000;

/// The time at which the resources are 5 minutes old.
pub(in crate::cli) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
}

const FIVE_MINUTES_AGO: Option<Timestamp> = Some(Timestamp { seconds: NOW - 300, nanos: 0 });

/// A Workload whose proxies are all healthy.
pub(in crate::cli) fn workload(name: &str, proxies: u32) -> proto::Workload {
    let counts = proto::DataplaneProxies { connected: proxies, healthy: proxies, total: proxies };
    proto::Workload {
        name: name.into(),
        namespace: "default".into(),
        mesh: "default".into(),
        uid: format!("uid-of-{name}"),
        labels: [("kuma.io/mesh".to_owned(), "default".to_owned())].into(),
        creation_time: FIVE_MINUTES_AGO,
        revision: 7,
        status: Some(proto::WorkloadStatus {
            dataplane_proxies: Some(counts),
            last_transition_time: FIVE_MINUTES_AGO,
        }),
    }
}

/// A server that has waited for 9 of 30 s.
pub(in crate::cli) const WARMING: Option<proto::Warming> = Some(proto::Warming {
    missing_dataplanes: 12,
    remaining: Some(prost_types::Duration { seconds: 20, nanos: 1 }),
});

/// What the commands print about [`WARMING`].
pub(in crate::cli) const WARMING_REMARK: &str =
    "the server restarted: 12 dataplanes have not reconnected yet (at most 21s more)\n";

/// A complete batch of a Workload watch.
pub(in crate::cli) fn workload_batch(
    upserted: Vec<proto::Workload>,
    resume_token: &str,
) -> proto::WatchWorkloadsResponse {
    proto::WatchWorkloadsResponse {
        upserted,
        synced: true,
        resume_token: resume_token.into(),
        ..proto::WatchWorkloadsResponse::default()
    }
}

/// A healthy dataplane of the workload `web` with two inbounds, of which one is ready.
pub(in crate::cli) fn dataplane(name: &str) -> proto::DataplaneOverview {
    let http = [("kuma.io/protocol".to_owned(), "http".to_owned())];
    let ready = proto::HealthState::Ready.into();
    proto::DataplaneOverview {
        dataplane: Some(proto::Dataplane {
            mesh: "default".into(),
            namespace: "default".into(),
            name: name.into(),
            labels: [("kuma.io/workload".to_owned(), "web".to_owned())].into(),
            address: "10.0.0.1".into(),
            inbounds: vec![
                proto::Inbound { port: 80, name: "http".into(), tags: http.into() },
                proto::Inbound { port: 81, ..proto::Inbound::default() },
            ],
            ..proto::Dataplane::default()
        }),
        workload: Some(proto::WorkloadRef { name: "web".into(), ..proto::WorkloadRef::default() }),
        connected: true,
        healthy: true,
        health: Some(proto::HealthReport {
            sequence: 1,
            proxy: ready,
            inbounds: vec![proto::InboundHealth { port: 80, state: ready }],
        }),
        last_transition_time: FIVE_MINUTES_AGO,
        agent_version: "1.0.0".into(),
        session_id: "s1".into(),
        ..proto::DataplaneOverview::default()
    }
}

/// A warning event for the workload `web`.
pub(in crate::cli) fn event(uid: &str, count: u64, message: &str) -> proto::Event {
    proto::Event {
        uid: uid.into(),
        r#type: proto::EventType::Warning.into(),
        reason: "MultipleMeshesDetected".into(),
        message: message.into(),
        regarding: Some(proto::WorkloadRef {
            name: "web".into(),
            namespace: "default".into(),
            ..proto::WorkloadRef::default()
        }),
        count,
        first_time: FIVE_MINUTES_AGO,
        last_time: FIVE_MINUTES_AGO,
        dataplane: String::new(),
    }
}
