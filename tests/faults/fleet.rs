//! Many proxies and their expected counts.

use std::{collections::BTreeMap, net::SocketAddr};

use headcount::net::file_descriptors::connection_capacity;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    member::{self, DesiredState, Presence},
    support::{Counts, dataplane},
};

/// Connected, healthy and total of each workload.
pub(crate) type CountsByWorkload = BTreeMap<String, Counts>;

/// A fleet of members; they end when it is dropped.
pub(crate) struct Fleet {
    name: &'static str,
    workloads: usize,
    states: Vec<watch::Sender<DesiredState>>,
    _members: JoinSet<()>,
}

impl Fleet {
    /// Starts `members` healthy members, of workloads whose names start with `name`.
    pub(crate) fn launch(server: SocketAddr, name: &'static str, members: usize, workloads: usize) -> Self {
        let capacity = connection_capacity(0);
        assert!(members < capacity, "this process may open {capacity} connections (ulimit -n)");
        let (mut tasks, mut states) = (JoinSet::new(), Vec::new());
        for n in 0..members {
            let dataplane = dataplane("default", &workload(name, n % workloads), &format!("{name}-{n}"));
            let (state, receiver) = watch::channel(DesiredState::HEALTHY);
            tasks.spawn(member::run(server, dataplane, receiver));
            states.push(state);
        }
        Self { name, workloads, states, _members: tasks }
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn set(&self, member: usize, state: DesiredState) {
        self.states[member].send_replace(state);
    }

    pub(crate) fn set_all(&self, state: DesiredState) {
        (0..self.len()).for_each(|member| self.set(member, state));
    }

    /// Inverts the health of one member.
    pub(crate) fn flip_health(&self, member: usize) {
        self.states[member].send_modify(|state| state.healthy = !state.healthy);
    }

    /// The counts if all members are in their desired state and have registered.
    pub(crate) fn expected(&self) -> CountsByWorkload {
        let mut expected = CountsByWorkload::new();
        for (n, state) in self.states.iter().enumerate() {
            let state = *state.borrow();
            let [connected, healthy, total] =
                expected.entry(workload(self.name, n % self.workloads)).or_default();
            let is_connected = state.presence == Presence::Connected;
            *connected += u32::from(is_connected);
            *healthy += u32::from(is_connected && state.healthy);
            *total += 1;
        }
        expected
    }
}

fn workload(name: &str, number: usize) -> String {
    format!("{name}-{number}")
}
