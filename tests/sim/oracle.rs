//! The oracle: what the server must report, derived from the injected faults alone.
//!
//! It knows which agents run and what health they report. For a dataplane without an agent it may
//! not know whether the server received the last hello or goodbye; then it accepts both outcomes.

use std::collections::{BTreeMap, BTreeSet};

use headcount::{
    agent::{AgentError, SessionEnd},
    model::Health,
    proto::DataplaneOverview,
};
use tokio::{sync::watch, time::Instant};

use crate::{
    agent::{Agent, AgentResult},
    dataplane::{DATAPLANES, WORKLOADS, WorkloadKey, dataplane, health, key, number, workload_key},
    net::{Crash, Network},
    replica::{Counts, Replica, WorkloadState},
    server::Server,
    store::DURABLE_WITHIN,
    tokens::{ENDED_WITHIN, Tokens},
};

/// The expected state of all dataplanes.
#[derive(Debug)]
pub struct Oracle {
    pub dataplanes: Vec<ExpectedDataplane>,
    /// The server's wall clock was set, so a restart can shorten the retention of lost dataplanes.
    pub clock_was_set: bool,
    /// When all clocks jumped last: the timers that were due meanwhile fire after it.
    pub jumped_at: Instant,
    /// The uid of each Workload that has dataplanes that were not touched since.
    uids: BTreeMap<WorkloadKey, u128>,
}

/// The expected state of one dataplane, and its running agents.
#[derive(Debug)]
pub struct ExpectedDataplane {
    number: usize,
    /// The health of its application, which its agents report.
    health: watch::Sender<Health>,
    healthy: bool,
    /// None if the server needs no credential of it.
    tokens: Option<Tokens>,
    /// Workloads that its agents named, under which the server may still count it.
    workloads: BTreeSet<usize>,
    /// Running agents with the workload that each names. A schedule may start a second agent; the
    /// server then decides which of the two remains.
    agents: Vec<(Agent, usize)>,
    /// Two agents have run since the last agreement, and the server may receive their last messages
    /// in either order.
    had_two_agents: bool,
    registration: Registration,
    /// When it was last seen to have left or expired.
    absent_since: Instant,
    /// The workload that it was counted in at the last agreement, if no fault has touched it since. It is
    /// counted there at all times.
    untouched_in: Option<usize>,
}

/// Whether the current server incarnation has the dataplane registered, disregarding what a running
/// agent is going to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registration {
    Present,
    Absent,
    Unknown,
}

impl ExpectedDataplane {
    fn new(number: usize, secured: bool) -> Self {
        Self {
            number,
            tokens: secured.then(|| Tokens::new(number)),
            health: watch::Sender::new(health(number, false)),
            healthy: false,
            workloads: BTreeSet::new(),
            agents: Vec::new(),
            had_two_agents: false,
            registration: Registration::Absent,
            absent_since: Instant::now(),
            untouched_in: None,
        }
    }

    fn has_agent(&self) -> bool {
        self.workload().is_some()
    }

    /// Whether it has an agent whose token the server accepts.
    fn connects(&self) -> bool {
        self.has_agent() && self.tokens.as_ref().is_none_or(Tokens::allow_a_session)
    }

    /// The workload that its agent names.
    fn workload(&self) -> Option<usize> {
        self.agents.first().map(|(_, workload)| *workload)
    }

    /// Starts an agent that names this workload, even if another one runs.
    pub fn start(&mut self, network: &Network, workload: usize) {
        self.had_two_agents |= self.has_agent();
        self.workloads.insert(workload);
        self.untouched_in = None;
        if self.registration == Registration::Absent {
            self.registration = Registration::Unknown;
        }
        let dataplane = dataplane(self.number, workload);
        let tokens = self.tokens.as_ref().map(Tokens::subscribe);
        let agent = Agent::start(network, self.number, dataplane, self.health.subscribe(), tokens);
        self.agents.push((agent, workload));
    }

    /// Asks the agents to leave.
    pub fn leave(&mut self) {
        self.untouched_in = None;
        self.agents.iter().for_each(|(agent, _)| agent.leave());
    }

    /// Asks all agents but the last one to leave, as an operator does: of two living agents one would be
    /// held off for as long as the other one lives.
    fn stop_duplicates(&mut self) {
        if let Some((_, others)) = self.agents.split_last() {
            for (agent, _) in others {
                agent.leave();
            }
        }
    }

    /// Crashes its host, and so its agents.
    pub fn crash(&mut self, network: &Network, crash: Crash) {
        network.crash(self.number, crash);
        if self.is_leaving() {
            self.registration = Registration::Unknown;
        }
        // Messages in flight may arrive after those of an agent that is started next.
        self.had_two_agents |= self.has_agent();
        self.agents.clear();
    }

    /// Makes its application healthy or unhealthy.
    pub fn flip_health(&mut self) {
        self.healthy = !self.healthy;
        self.health.send_replace(health(self.number, self.healthy));
    }

    /// Its tokens. Changes of them may let its agent connect, or not.
    pub fn tokens(&mut self) -> Option<&mut Tokens> {
        if self.has_agent() && !self.connects() {
            // With another token it registers, or moves to the workload that its agent names.
            self.untouched_in = None;
            self.workloads.extend(self.agents.iter().map(|(_, workload)| *workload));
            if self.registration == Registration::Absent {
                self.registration = Registration::Unknown;
            }
        }
        self.tokens.as_mut()
    }

    async fn collect_results(&mut self) -> Result<(), String> {
        while let Some(at) = self.agents.iter().position(|(agent, _)| agent.is_finished()) {
            let result = self.agents.swap_remove(at).0.result().await;
            self.agent_ended(&result)
                .map_err(|()| format!("dataplane {}: its agent ended: {result:?}", self.number))?;
        }
        Ok(())
    }

    fn agent_ended(&mut self, result: &AgentResult) -> Result<(), ()> {
        match result {
            Ok(SessionEnd::Goodbye) if !self.had_two_agents => self.absent(),
            Ok(_) => self.registration = Registration::Unknown,
            Err(AgentError::Superseded { .. }) if self.had_two_agents => {}
            Err(_) => return Err(()),
        }
        Ok(())
    }

    fn absent(&mut self) {
        self.registration = Registration::Absent;
        self.absent_since = Instant::now();
        self.untouched_in = None;
    }

    /// The server has started with an empty registry.
    fn lost_by_server(&mut self) {
        self.untouched_in = None;
        if let Some(tokens) = &mut self.tokens {
            tokens.forgot_revocations();
            self.workloads.extend(self.agents.iter().map(|(_, workload)| *workload));
        }
        self.registration = if self.connects() { Registration::Unknown } else { Registration::Absent };
    }

    /// The server has started with the registrations that were durable when it stopped.
    fn restored_by_server(&mut self, stopped: Instant, clock_was_set: bool) {
        let left_just_before =
            self.registration == Registration::Absent && self.absent_since + DURABLE_WITHIN > stopped;
        let may_expire = clock_was_set && !self.has_agent() && self.registration == Registration::Present;
        if left_just_before || may_expire {
            self.registration = Registration::Unknown;
            self.untouched_in = None;
        }
    }

    fn is_leaving(&self) -> bool {
        self.agents.iter().any(|(agent, _)| agent.is_leaving())
    }
}

impl Oracle {
    /// If `secured`, each dataplane has a token.
    pub fn new(secured: bool) -> Self {
        let dataplanes = (0..DATAPLANES).map(|number| ExpectedDataplane::new(number, secured)).collect();
        Self { dataplanes, clock_was_set: false, jumped_at: Instant::now(), uids: BTreeMap::new() }
    }

    /// Takes the results of agents that have ended; an error that no fault explains is returned.
    pub async fn collect_results(&mut self) -> Result<(), String> {
        for dataplane in &mut self.dataplanes {
            dataplane.collect_results().await?;
        }
        Ok(())
    }

    /// Leaves one agent of each dataplane.
    pub fn stop_duplicates(&mut self) {
        self.dataplanes.iter_mut().for_each(ExpectedDataplane::stop_duplicates);
    }

    /// The server has started: with an empty registry, or with the registrations that were durable when the
    /// one before was taken down.
    pub fn server_started(&mut self, durable: Option<Instant>) {
        for dataplane in &mut self.dataplanes {
            match durable {
                None => dataplane.lost_by_server(),
                Some(stopped) => dataplane.restored_by_server(stopped, self.clock_was_set),
            }
        }
    }

    /// Checks that a replica has each dataplane that no fault has touched since the last agreement, in a
    /// Workload with the same uid.
    pub fn check_untouched(
        &self,
        replica: &Replica,
        selects: impl Fn(&WorkloadKey) -> bool,
    ) -> Result<(), String> {
        if !replica.is_complete() {
            return Ok(());
        }
        for (key, total) in self.untouched().into_iter().filter(|(key, _)| selects(key)) {
            let found = replica.workloads.get(&key);
            if found.is_none_or(|found| found.counts.total < total) {
                return Err(format!("{key:?} is {found:?}, and {total} of its dataplanes were not touched"));
            }
            let (before, now) = (self.uids.get(&key), found.map(|found| found.uid));
            if before.copied() != now {
                return Err(format!("{key:?} got another uid: {before:?} -> {now:?}"));
            }
        }
        Ok(())
    }

    /// Checks that no dataplane is connected whose tokens have all been invalid for a second.
    pub fn check_rights(&self, server: &Server) -> Result<(), String> {
        if self.jumped_at.elapsed() <= ENDED_WITHIN {
            return Ok(());
        }
        let without_right =
            |it: &&ExpectedDataplane| it.tokens.as_ref().is_some_and(|it| !it.may_be_connected());
        match self.dataplanes.iter().filter(without_right).find(|it| server.is_connected(&key(it.number))) {
            Some(connected) => Err(format!("dataplane {} is connected without a right to", connected.number)),
            None => Ok(()),
        }
    }

    /// When the last token expires.
    pub fn last_expiry(&self) -> Option<Instant> {
        self.dataplanes.iter().filter_map(|it| it.tokens.as_ref()?.last_expiry()).max()
    }

    fn untouched(&self) -> BTreeMap<WorkloadKey, u32> {
        let mut totals = BTreeMap::new();
        for dataplane in &self.dataplanes {
            if let Some(workload) = dataplane.untouched_in {
                *totals.entry(workload_key(dataplane.number, workload)).or_default() += 1;
            }
        }
        totals
    }

    /// Everything agrees on these Workloads.
    pub fn agreed(&mut self, workloads: &BTreeMap<WorkloadKey, WorkloadState>) {
        self.uids = workloads.iter().map(|(key, state)| (key.clone(), state.uid)).collect();
        for dataplane in &mut self.dataplanes {
            dataplane.untouched_in = dataplane.workloads.first().copied();
        }
    }

    /// The retention of lost dataplanes is over.
    pub fn expire_lost(&mut self) {
        for dataplane in self.dataplanes.iter_mut().filter(|dataplane| !dataplane.connects()) {
            dataplane.absent();
        }
    }

    /// Whether each dataplane has no agent, or one that stays.
    pub fn is_quiescent(&self) -> bool {
        self.dataplanes.iter().all(|dataplane| dataplane.agents.len() <= 1 && !dataplane.is_leaving())
    }

    /// Connected and healthy counts of each Workload with connected dataplanes; `total` is left 0.
    pub fn connected(&self) -> BTreeMap<WorkloadKey, Counts> {
        let mut workloads = BTreeMap::<_, Counts>::new();
        for dataplane in &self.dataplanes {
            let Some(workload) = dataplane.workload().filter(|_| dataplane.connects()) else {
                continue;
            };
            let counts = workloads.entry(workload_key(dataplane.number, workload)).or_default();
            counts.connected += 1;
            counts.healthy += u32::from(dataplane.healthy);
        }
        workloads
    }

    /// Checks a response of `ListDataplanes` and returns the counts that follow from it. What the
    /// oracle did not know before, it takes from this listing.
    pub fn check_listing(
        &mut self,
        listing: &[DataplaneOverview],
    ) -> Result<BTreeMap<WorkloadKey, Counts>, String> {
        let mut listed: BTreeMap<_, _> =
            listing.iter().map(|overview| (number_of(overview), overview)).collect();
        let mut workloads = BTreeMap::<_, Counts>::new();
        for dataplane in &self.dataplanes {
            let overview = listed.remove(&Some(dataplane.number));
            dataplane
                .check(overview)
                .map_err(|problem| format!("dataplane {}: {problem}: {overview:?}", dataplane.number))?;
            if let Some((overview, workload)) =
                overview.and_then(|overview| Some((overview, workload_of(overview)?)))
            {
                let counts = workloads.entry(workload_key(dataplane.number, workload)).or_default();
                counts.connected += u32::from(overview.connected);
                counts.healthy += u32::from(overview.healthy);
                counts.total += 1;
            }
        }
        if let Some(unexpected) = listed.first_entry() {
            return Err(format!("no such dataplane exists: {:?}", unexpected.get()));
        }
        let known: BTreeMap<_, _> =
            listing.iter().map(|overview| (number_of(overview), workload_of(overview))).collect();
        for dataplane in &mut self.dataplanes {
            let workload = known.get(&Some(dataplane.number)).copied().flatten();
            match workload {
                Some(_) => dataplane.registration = Registration::Present,
                None if dataplane.registration != Registration::Absent => dataplane.absent(),
                None => {}
            }
            dataplane.workloads = workload.into_iter().collect();
            dataplane.had_two_agents = false;
        }
        Ok(workloads)
    }
}

impl ExpectedDataplane {
    fn check(&self, overview: Option<&DataplaneOverview>) -> Result<(), &'static str> {
        let Some(overview) = overview else {
            return match self.registration {
                _ if self.connects() => Err("has an agent and is not registered"),
                Registration::Present => Err("was lost and is not registered"),
                Registration::Absent | Registration::Unknown => Ok(()),
            };
        };
        let workload = workload_of(overview).ok_or("names no workload")?;
        match (self.connects(), self.registration) {
            (true, _) if Some(workload) != self.workload() => Err("is counted in another Workload"),
            (true, _) if !overview.connected => Err("has an agent and is not connected"),
            (true, _) if overview.healthy != self.healthy => Err("has the wrong health"),
            (false, Registration::Absent) => Err("left or expired and is still registered"),
            (false, _) if overview.connected || overview.healthy => {
                Err("has no agent with a valid token and is connected")
            }
            (false, _) if !self.workloads.contains(&workload) => {
                Err("is counted in a Workload that no agent named")
            }
            _ => Ok(()),
        }
    }
}

fn number_of(overview: &DataplaneOverview) -> Option<usize> {
    number(&overview.dataplane.as_ref()?.name)
}

fn workload_of(overview: &DataplaneOverview) -> Option<usize> {
    let name = &overview.workload.as_ref()?.name;
    (0..WORKLOADS).find(|workload| workload_key(0, *workload).1 == *name)
}
