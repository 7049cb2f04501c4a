//! Many proxies, and what they amount to.

use std::{collections::BTreeMap, net::SocketAddr};

use headcount::net::file_descriptors::connection_capacity;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    member::{self, Order, Presence},
    support::{Counts, dataplane},
};

/// Connected, healthy, total of each workload.
pub(crate) type Numbers = BTreeMap<String, Counts>;

/// Its members end with it.
pub(crate) struct Fleet {
    name: &'static str,
    workloads: usize,
    orders: Vec<watch::Sender<Order>>,
    _members: JoinSet<()>,
}

impl Fleet {
    /// So many members of workloads whose names begin like this. All are told
    /// to be well.
    pub(crate) fn launch(server: SocketAddr, name: &'static str, members: usize, workloads: usize) -> Self {
        let room = connection_capacity(0);
        assert!(members < room, "this process may hold {room} connections (ulimit -n)");
        let (mut tasks, mut orders) = (JoinSet::new(), Vec::new());
        for n in 0..members {
            let dataplane = dataplane("default", &workload(name, n % workloads), &format!("{name}-{n}"));
            let (order, told) = watch::channel(Order::WELL);
            tasks.spawn(member::live(server, dataplane, told));
            orders.push(order);
        }
        Self { name, workloads, orders, _members: tasks }
    }

    pub(crate) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(crate) fn tell(&self, member: usize, order: Order) {
        self.orders[member].send_replace(order);
    }

    pub(crate) fn tell_all(&self, order: Order) {
        (0..self.len()).for_each(|member| self.tell(member, order));
    }

    /// Changes the health of one.
    pub(crate) fn flip(&self, member: usize) {
        self.orders[member].send_modify(|order| order.healthy = !order.healthy);
    }

    /// What must be counted if all do as they are told, and all have been there.
    pub(crate) fn numbers(&self) -> Numbers {
        let mut numbers = Numbers::new();
        for (n, order) in self.orders.iter().enumerate() {
            let order = *order.borrow();
            let [connected, healthy, total] =
                numbers.entry(workload(self.name, n % self.workloads)).or_default();
            let here = order.presence == Presence::Here;
            *connected += u32::from(here);
            *healthy += u32::from(here && order.healthy);
            *total += 1;
        }
        numbers
    }
}

fn workload(name: &str, number: usize) -> String {
    format!("{name}-{number}")
}
