//! What a server lists after a restart, before any client is back.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use headcount::proto::{
    DataplaneOverview, ListDataplanesRequest, ListWorkloadsRequest, Workload,
    dataplane_service_client::DataplaneServiceClient, workload_service_client::WorkloadServiceClient,
};

use super::{
    client::Client,
    history::{Registration, State},
};
use crate::{fleet::CountsByWorkload, support::Server};

/// Label with the number of the hello.
pub(crate) const ATTEMPT: &str = "attempt";
const WORKLOAD: &str = "kuma.io/workload";

/// The version that a client states in its hello of this number.
pub(crate) fn agent_version(attempt: u32) -> String {
    format!("test/{attempt}")
}

/// What must not change while a Workload exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) workload: String,
    uid: String,
    creation_time: Option<prost_types::Timestamp>,
}

impl Identity {
    pub(crate) fn of(workload: &Workload) -> Self {
        Self {
            workload: workload.name.clone(),
            uid: workload.uid.clone(),
            creation_time: workload.creation_time,
        }
    }
}

/// All dataplanes and Workloads of a server.
pub(crate) struct Listing {
    dataplanes: BTreeMap<String, Registration>,
    workloads: BTreeMap<String, Identity>,
    counts: CountsByWorkload,
    revision: u64,
    /// Dataplanes that the server expects back, because they were connected.
    missing: u64,
}

impl Listing {
    pub(crate) async fn read(server: &Server) -> Self {
        let channel = server.connect().await;
        let request = ListDataplanesRequest { page_size: 1_000, ..ListDataplanesRequest::default() };
        let page =
            DataplaneServiceClient::new(channel.clone()).list_dataplanes(request).await.unwrap().into_inner();
        assert_eq!(page.next_page_token, "", "one page");
        let dataplanes = page.dataplanes.iter().map(registration).collect();
        let request = ListWorkloadsRequest { page_size: 1_000, ..ListWorkloadsRequest::default() };
        let page = WorkloadServiceClient::new(channel).list_workloads(request).await.unwrap().into_inner();
        assert_eq!(page.next_page_token, "", "one page");
        let (mut workloads, mut counts) = (BTreeMap::new(), CountsByWorkload::new());
        for workload in &page.workloads {
            let numbers = workload.status.and_then(|status| status.dataplane_proxies).expect("counts");
            counts.insert(workload.name.clone(), [numbers.connected, numbers.healthy, numbers.total]);
            workloads.insert(workload.name.clone(), Identity::of(workload));
        }
        let missing = server.metric("headcount_warming_missing_dataplanes").await.expect("a metric");
        Self { dataplanes, workloads, counts, revision: page.revision, missing }
    }

    /// The registration of this dataplane.
    pub(crate) fn registration(&self, dataplane: &str) -> Option<&Registration> {
        self.dataplanes.get(dataplane)
    }

    /// Asserts that a server that was killed has lost or kept nothing that is older than `window`, that its
    /// Workloads are those of its dataplanes, and that they are the same as before. Returns the age of the
    /// oldest confirmed change that was lost.
    pub(crate) fn check(&self, clients: &[Client], killed: Instant, window: Duration) -> Duration {
        let (mut oldest, cutoff) = (Duration::ZERO, killed.checked_sub(window).expect("a recent instant"));
        for client in clients {
            let lost = client.history.lost(self.registration(&client.name), killed);
            let lost = lost.unwrap_or_else(|problem| panic!("{}: {problem}", client.name));
            let Client { name, history, .. } = client;
            assert!(lost <= window, "{name}: a change was lost {lost:?} after it was confirmed: {history:?}");
            oldest = oldest.max(lost);
            assert!(
                self.revision > client.revision,
                "revisions grow: {} after {}",
                self.revision,
                client.revision
            );
            self.check_identity(client, cutoff);
        }
        self.check_missing(clients, cutoff);
        let mut expected = CountsByWorkload::new();
        for Registration { workload, .. } in self.dataplanes.values() {
            expected.entry(workload.clone()).or_default()[2] += 1;
        }
        assert_eq!(self.counts, expected, "the Workloads are those of the dataplanes, and none is connected");
        oldest
    }

    /// Asserts that the server expects back those dataplanes that were connected.
    fn check_missing(&self, clients: &[Client], cutoff: Instant) {
        let count = |is_counted: fn(&Client, Instant) -> bool| {
            clients.iter().filter(|client| is_counted(client, cutoff)).count() as u64
        };
        let certain = count(|client, cutoff| client.history.possible(cutoff).all(State::is_connected));
        let possible = count(|client, cutoff| client.history.possible(cutoff).any(State::is_connected));
        let missing = self.missing;
        assert!(
            (certain..=possible).contains(&missing),
            "{missing} are missing, not {certain} to {possible}"
        );
    }

    /// Asserts that a Workload is the same as before, if the dataplane has certainly been a member of it.
    fn check_identity(&self, client: &Client, cutoff: Instant) {
        let Some(before) = &client.identity else { return };
        let is_member = |registration: &Registration| registration.workload == before.workload;
        if client.history.possible(cutoff).all(|state| state.registration().is_some_and(is_member)) {
            assert_eq!(self.workloads.get(&before.workload), Some(before));
        }
    }
}

/// Asserts that a record is complete: that all its parts are of the same hello.
fn registration(overview: &DataplaneOverview) -> (String, Registration) {
    let dataplane = overview.dataplane.as_ref().expect("a dataplane");
    let label = |name: &str| dataplane.labels.get(name).unwrap_or_else(|| panic!("{name}: {overview:?}"));
    let (workload, attempt) = (label(WORKLOAD).clone(), label(ATTEMPT).parse().expect("a number"));
    assert_eq!(dataplane.labels.len(), 2, "{overview:?}");
    assert_eq!(overview.agent_version, agent_version(attempt), "{overview:?}");
    assert!(!overview.connected, "{overview:?}");
    (dataplane.name.clone(), Registration { workload, attempt })
}
