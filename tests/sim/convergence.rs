//! The check after a heal: watchers, listings and the oracle must agree in time, and stay in
//! agreement.

use std::{collections::BTreeMap, time::Duration};

use headcount::proto::{
    ListDataplanesRequest, ListDataplanesResponse, ListWorkloadsRequest, ListWorkloadsResponse,
    dataplane_service_client::DataplaneServiceClient, workload_service_client::WorkloadServiceClient,
};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::{
    client::{self, ConnectedTo},
    dataplane::WorkloadKey,
    replica::{Counts, WorkloadState, parse},
    simulation::{OBSERVER, Simulation},
};

/// Time from a heal to agreement: 3 s for TCP to retransmit stalled bytes, 9 s for heartbeats to
/// detect a dead connection, 5 s for the longest backoff of an agent, 1 s for handshakes.
pub const CONVERGE_WITHIN: Duration = Duration::from_secs(18);
/// Added when the server limits the session rate: its `RetryInfo`, and the agent's backoff once more.
pub const RATE_LIMITED_EXTRA: Duration = Duration::from_secs(34);
/// How long the agreement must last: longer than a dead connection may stay undetected.
const STABLE_FOR: Duration = Duration::from_secs(10);
/// Time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl Simulation {
    /// Waits for agreement that lasts; returns how long it took to reach.
    pub async fn converge(&mut self) -> Result<Duration, String> {
        let healed = Instant::now();
        loop {
            self.check_invariants().await?;
            let agreement = self.check_agreement().await;
            let took = healed.elapsed();
            match agreement {
                Ok(listed) => {
                    sleep(STABLE_FOR).await;
                    self.check_invariants().await?;
                    // Equal revisions as well: nothing has changed and changed back meanwhile.
                    if self.check_agreement().await.is_ok_and(|later| later == listed) {
                        self.oracle.agreed(&listed);
                        return Ok(took);
                    }
                    self.trace.record("simulation", format_args!("agreed after {took:?}, but not for long"));
                }
                Err(difference) if took > self.converge_within => {
                    return Err(format!(
                        "no agreement within {:?} after a heal: {difference}",
                        self.converge_within
                    ));
                }
                Err(_) => sleep(POLL_INTERVAL).await,
            }
        }
    }

    /// Returns the listed Workloads if every source agrees on them, or the first difference.
    pub async fn check_agreement(&mut self) -> Result<BTreeMap<WorkloadKey, WorkloadState>, String> {
        if !self.oracle.is_quiescent() {
            return Err("agents are still leaving".into());
        }
        self.check_watchers()?;
        let (dataplanes, workloads) = self.list().await.map_err(|status| format!("a listing: {status:?}"))?;
        let listed = workloads.workloads.iter().map(parse).collect::<Result<BTreeMap<_, _>, _>>()?;
        let expected = self.oracle.check_listing(&dataplanes.dataplanes)?;
        let counts: BTreeMap<_, _> = listed.iter().map(|(key, state)| (key.clone(), state.counts)).collect();
        if counts != expected {
            return Err(format!("ListWorkloads has {counts:?}, ListDataplanes adds up to {expected:?}"));
        }
        for (number, watcher) in self.watchers.iter().enumerate() {
            let mut expected = listed.clone();
            expected.retain(|key, _| watcher.selects(key));
            let replica = watcher.with_replica(|replica| replica.workloads.clone());
            if replica != expected {
                return Err(format!("watcher {number} has {replica:?}, ListWorkloads has {expected:?}"));
            }
        }
        Ok(listed)
    }

    /// Compares each watcher's connected and healthy counts with the oracle: the cheap check, before
    /// the server is asked for listings.
    fn check_watchers(&self) -> Result<(), String> {
        let (incarnation, expected) = (self.network.incarnation(), self.oracle.connected());
        for (number, watcher) in self.watchers.iter().enumerate() {
            watcher.with_replica(|replica| {
                if !replica.is_synced(incarnation) {
                    return Err(format!("watcher {number} is not in sync"));
                }
                let keys = replica.workloads.keys();
                for key in keys.chain(expected.keys().filter(|key| watcher.selects(key))) {
                    let counts = replica.workloads.get(key).map(|state| state.counts).unwrap_or_default();
                    let Counts { connected, healthy, .. } = expected.get(key).copied().unwrap_or_default();
                    if (counts.connected, counts.healthy) != (connected, healthy) {
                        return Err(format!(
                            "watcher {number} has {counts:?} for {key:?}, not connected {connected}, healthy {healthy}"
                        ));
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    async fn list(&self) -> Result<(ListDataplanesResponse, ListWorkloadsResponse), Status> {
        let channel = client::connect(self.network.clone(), OBSERVER, ConnectedTo::default()).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut workload_service = WorkloadServiceClient::new(channel.clone());
        let mut dataplane_service = DataplaneServiceClient::new(channel);
        let workloads = workload_service.list_workloads(ListWorkloadsRequest::default()).await?;
        let dataplanes = dataplane_service.list_dataplanes(ListDataplanesRequest::default()).await?;
        Ok((dataplanes.into_inner(), workloads.into_inner()))
    }
}
