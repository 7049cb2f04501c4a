//! After a heal: everybody must come to know what is so, in time, and keep it.

use std::{collections::BTreeMap, time::Duration};

use headcount::proto::{
    ListDataplanesRequest, ListDataplanesResponse, ListWorkloadsRequest, ListWorkloadsResponse,
    dataplane_service_client::DataplaneServiceClient, workload_service_client::WorkloadServiceClient,
};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::{
    client::{self, Life},
    dataplane::Place,
    fold::{Counts, Seen, seen},
    world::{OBSERVER, World},
};

/// From a heal until all is right: what was held comes within 3 s, a connection
/// that is dead on one way is noticed within 9 s after, the agent's backoff is
/// 30 s at most, and a second is for the handshakes.
pub const SETTLE: Duration = Duration::from_secs(43);
/// Where the server may shed: what it asks for, and the agent's backoff again.
pub const SHED_ONCE: Duration = Duration::from_secs(34);
/// For so long it must then stay right: longer than a dead connection may go
/// unnoticed.
const CALM: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl World {
    /// Returns how long it took.
    pub async fn settle(&mut self) -> Result<Duration, String> {
        let healed = Instant::now();
        loop {
            self.look_for_wrongs().await?;
            let right = self.agree().await;
            let took = healed.elapsed();
            match right {
                Ok(seen) => {
                    sleep(CALM).await;
                    self.look_for_wrongs().await?;
                    // The same revisions: nothing has changed, and changed back, either.
                    if self.agree().await.is_ok_and(|still| still == seen) {
                        return Ok(took);
                    }
                    self.trace.note("world", format_args!("was right after {took:?}, and did not stay so"));
                }
                Err(why) if took > self.settle_within => {
                    return Err(format!("not right within {:?} after a heal: {why}", self.settle_within));
                }
                Err(_) => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Whether all know the same, and it is so; an error says who does not.
    async fn agree(&mut self) -> Result<BTreeMap<Place, Seen>, String> {
        if !self.truth.is_calm() {
            return Err("agents are still leaving".into());
        }
        self.watchers_agree()?;
        // Only now is it worth while to ask the server.
        let (dataplanes, workloads) = self.ask().await.map_err(|status| format!("a listing: {status:?}"))?;
        let listed = workloads.workloads.iter().map(seen).collect::<Result<BTreeMap<_, _>, _>>()?;
        let counted = self.truth.settle(&dataplanes.dataplanes)?;
        let counts: BTreeMap<_, _> =
            listed.iter().map(|(place, seen)| (place.clone(), seen.counts)).collect();
        if counts != counted {
            return Err(format!("listed are {counts:?}, and of dataplanes there are {counted:?}"));
        }
        for (number, watcher) in self.watchers.iter().enumerate() {
            let mut wanted = listed.clone();
            wanted.retain(|place, _| watcher.wants(place));
            let known = watcher.look(|fold| fold.workloads.clone());
            if known != wanted {
                return Err(format!("watcher {number} knows {known:?}, and listed are {wanted:?}"));
            }
        }
        Ok(listed)
    }

    /// Whether all watchers have the connected and the healthy right of what they
    /// watch, and nothing else.
    fn watchers_agree(&self) -> Result<(), String> {
        let (life, truth) = (self.network.lives(), self.truth.connected());
        for (number, watcher) in self.watchers.iter().enumerate() {
            watcher.look(|fold| {
                if !fold.is_synced(life) {
                    return Err(format!("watcher {number} is not in sync"));
                }
                for place in fold.workloads.keys().chain(truth.keys().filter(|place| watcher.wants(place))) {
                    let known = fold.workloads.get(place).map(|seen| seen.counts).unwrap_or_default();
                    let Counts { connected, healthy, .. } = truth.get(place).copied().unwrap_or_default();
                    if (known.connected, known.healthy) != (connected, healthy) {
                        return Err(format!(
                            "watcher {number} knows of {place:?} {known:?}; {connected} are connected, {healthy} healthy"
                        ));
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The server's own listings.
    async fn ask(&self) -> Result<(ListDataplanesResponse, ListWorkloadsResponse), Status> {
        let channel = client::connect(self.network.clone(), OBSERVER, Life::default()).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut of_workloads = WorkloadServiceClient::new(channel.clone());
        let mut of_dataplanes = DataplaneServiceClient::new(channel);
        let workloads = of_workloads.list_workloads(ListWorkloadsRequest::default()).await?;
        let dataplanes = of_dataplanes.list_dataplanes(ListDataplanesRequest::default()).await?;
        Ok((dataplanes.into_inner(), workloads.into_inner()))
    }
}
