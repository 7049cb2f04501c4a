//! What is so, whatever anybody believes: which agents run and what health they
//! were told to have. Of a dataplane that has no agent the test may not know
//! whether the server ever heard of it, or of its goodbye; then both are right.

use std::collections::{BTreeMap, BTreeSet};

use headcount::{
    agent::{AgentError, SessionEnd},
    model::Health,
    proto::DataplaneOverview,
};
use tokio::sync::watch;

use crate::{
    agent::{Agent, Ended},
    dataplane::{DATAPLANES, Place, WORKLOADS, dataplane, health, number, place},
    fold::Counts,
    net::{Crash, Network},
};

/// Everybody.
#[derive(Debug)]
pub struct Truth {
    pub slots: Vec<Slot>,
}

/// What the test knows of one dataplane.
#[derive(Debug)]
pub struct Slot {
    number: usize,
    /// What its agents are told.
    health: watch::Sender<Health>,
    healthy: bool,
    /// What agents named that the server may still believe.
    named: BTreeSet<usize>,
    /// With what each names: one, unless it is down, or a second one was started
    /// by mistake. Which of two will be left is for the server to say.
    agents: Vec<(Agent, usize)>,
    /// There were two, one after the other at least, and the server may still hear
    /// of both in whatever order.
    doubled: bool,
    registered: Registered,
}

/// Whether the server's present life knows the dataplane, apart from what a
/// running agent will tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registered {
    Yes,
    No,
    Perhaps,
}

impl Slot {
    fn new(number: usize) -> Self {
        Self {
            number,
            health: watch::Sender::new(health(number, false)),
            healthy: false,
            named: BTreeSet::new(),
            agents: Vec::new(),
            doubled: false,
            registered: Registered::No,
        }
    }

    pub fn is_up(&self) -> bool {
        self.workload().is_some()
    }

    /// What its agent names.
    fn workload(&self) -> Option<usize> {
        self.agents.first().map(|(_, workload)| *workload)
    }

    /// Starts an agent that names a workload; a second one if one is there.
    pub fn start(&mut self, network: &Network, workload: usize) {
        self.doubled |= self.is_up();
        self.named.insert(workload);
        if self.registered == Registered::No {
            self.registered = Registered::Perhaps;
        }
        let dataplane = dataplane(self.number, workload);
        let agent = Agent::start(network, self.number, dataplane, self.health.subscribe());
        self.agents.push((agent, workload));
    }

    /// Tells the agents to leave.
    pub fn leave(&mut self) {
        self.agents.iter().for_each(|(agent, _)| agent.leave());
    }

    /// The host goes down.
    pub fn crash(&mut self, network: &Network, crash: Crash) {
        network.crash(self.number, crash);
        if self.leaving() {
            self.registered = Registered::Perhaps;
        }
        // What it has just said may arrive after what its successor says.
        self.doubled |= self.is_up();
        self.agents.clear();
    }

    /// Its application comes up, or goes down.
    pub fn flip(&mut self) {
        self.healthy = !self.healthy;
        self.health.send_replace(health(self.number, self.healthy));
    }

    /// Takes note of agents that have ended by themselves.
    async fn reap(&mut self) -> Result<(), String> {
        while let Some(at) = self.agents.iter().position(|(agent, _)| agent.is_over()) {
            let ended = self.agents.swap_remove(at).0.ended().await;
            self.ended(&ended)
                .map_err(|()| format!("dataplane {}: its agent ended: {ended:?}", self.number))?;
        }
        Ok(())
    }

    fn ended(&mut self, ended: &Ended) -> Result<(), ()> {
        match ended {
            Ok(SessionEnd::Goodbye) if !self.doubled => self.registered = Registered::No,
            Ok(_) => self.registered = Registered::Perhaps,
            Err(AgentError::Superseded { .. }) if self.doubled => {}
            Err(_) => return Err(()),
        }
        Ok(())
    }

    fn leaving(&self) -> bool {
        self.agents.iter().any(|(agent, _)| agent.is_leaving())
    }
}

impl Truth {
    pub fn new() -> Self {
        Self { slots: (0..DATAPLANES).map(Slot::new).collect() }
    }

    /// Takes note of agents that have ended by themselves; an error if one
    /// should not have.
    pub async fn reap(&mut self) -> Result<(), String> {
        for slot in &mut self.slots {
            slot.reap().await?;
        }
        Ok(())
    }

    /// The server has started with nothing in it.
    pub fn server_is_new(&mut self) {
        for slot in &mut self.slots {
            slot.registered = if slot.is_up() { Registered::Perhaps } else { Registered::No };
        }
    }

    /// Retention is over for everybody who is not up.
    pub fn forget_lost(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.is_up()) {
            slot.registered = Registered::No;
        }
    }

    /// All is calm: each dataplane has one agent, which stays, or none.
    pub fn is_calm(&self) -> bool {
        self.slots.iter().all(|slot| slot.agents.len() <= 1 && !slot.leaving())
    }

    /// Connected and healthy of each workload that has any.
    pub fn connected(&self) -> BTreeMap<Place, Counts> {
        let mut places = BTreeMap::<_, Counts>::new();
        for slot in &self.slots {
            let Some(workload) = slot.workload() else {
                continue;
            };
            let counts = places.entry(place(slot.number, workload)).or_default();
            counts.connected += 1;
            counts.healthy += u32::from(slot.healthy);
        }
        places
    }

    /// The numbers of all Workloads, if what the server says of each dataplane
    /// is so or may be so; and it is known better from then on.
    pub fn settle(&mut self, listed: &[DataplaneOverview]) -> Result<BTreeMap<Place, Counts>, String> {
        let mut said: BTreeMap<_, _> =
            listed.iter().map(|overview| (number_of(overview), overview)).collect();
        let mut places = BTreeMap::<_, Counts>::new();
        for slot in &self.slots {
            let overview = said.remove(&Some(slot.number));
            slot.agrees(overview).map_err(|why| format!("dataplane {}: {why}: {overview:?}", slot.number))?;
            if let Some((overview, workload)) = overview.and_then(|said| Some((said, workload_of(said)?))) {
                let counts = places.entry(place(slot.number, workload)).or_default();
                counts.connected += u32::from(overview.connected);
                counts.healthy += u32::from(overview.healthy);
                counts.total += 1;
            }
        }
        if let Some(stranger) = said.first_entry() {
            return Err(format!("nobody is {:?}", stranger.get()));
        }
        let known: BTreeMap<_, _> = listed.iter().map(|said| (number_of(said), workload_of(said))).collect();
        for slot in &mut self.slots {
            let workload = known.get(&Some(slot.number)).copied().flatten();
            slot.registered = if workload.is_some() { Registered::Yes } else { Registered::No };
            slot.named = workload.into_iter().collect();
            slot.doubled = false;
        }
        Ok(places)
    }
}

impl Slot {
    fn agrees(&self, said: Option<&DataplaneOverview>) -> Result<(), &'static str> {
        let Some(said) = said else {
            return match self.registered {
                _ if self.is_up() => Err("is up and not registered"),
                Registered::Yes => Err("was lost and is not registered"),
                Registered::No | Registered::Perhaps => Ok(()),
            };
        };
        let workload = workload_of(said).ok_or("names no workload")?;
        match (self.is_up(), self.registered) {
            (true, _) if Some(workload) != self.workload() => Err("is counted elsewhere"),
            (true, _) if !said.connected => Err("is up and not connected"),
            (true, _) if said.healthy != self.healthy => Err("has another health"),
            (false, Registered::No) => Err("is gone and still registered"),
            (false, _) if said.connected || said.healthy => Err("is down and connected"),
            (false, _) if !self.named.contains(&workload) => Err("is counted where it never was"),
            _ => Ok(()),
        }
    }
}

fn number_of(said: &DataplaneOverview) -> Option<usize> {
    number(&said.dataplane.as_ref()?.name)
}

fn workload_of(said: &DataplaneOverview) -> Option<usize> {
    let name = &said.workload.as_ref()?.name;
    (0..WORKLOADS).find(|workload| place(0, *workload).1 == *name)
}
