//! A client that registers, moves, loses and unregisters one dataplane, and remembers what the server has
//! confirmed.

use std::{error::Error as _, time::Instant};

use fastrand::Rng;
use headcount::proto::{
    Dataplane, GetWorkloadRequest, Hello, workload_service_client::WorkloadServiceClient,
};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Status, transport::Channel};

use super::{
    history::{History, Registration, State},
    listing::{ATTEMPT, Identity, agent_version},
};
use crate::{
    session::Session,
    support::{DEADLINE, dataplane},
};

/// One dataplane and its client.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) history: History,
    /// Identity of the Workload that the dataplane is a member of, as read since it joined.
    pub(crate) identity: Option<Identity>,
    /// The latest revision that the client has received.
    pub(crate) revision: u64,
    /// The workloads that it moves between. With only one it stays connected.
    workloads: Vec<String>,
    channel: Channel,
    /// Identifies the client's process to the server.
    instance: u64,
    attempt: u32,
    session: Option<Session>,
    random: Rng,
}

impl Client {
    pub(crate) fn new(name: String, workloads: Vec<String>, channel: Channel, mut random: Rng) -> Self {
        let history = History::new(State::Absent);
        let instance = random.u64(1..);
        let (identity, revision, attempt, session) = (None, 0, 0, None);
        Self { name, history, identity, revision, workloads, channel, instance, attempt, session, random }
    }

    /// Acts at random, and counts its actions, until the server ends.
    pub(crate) async fn act(mut self, acted: watch::Sender<usize>) -> Self {
        loop {
            let action = timeout(DEADLINE, self.act_once()).await.expect("an answer in time");
            if let Err(status) = action {
                let is_over = status.source().is_some() || status.code() == Code::Unavailable;
                assert!(is_over, "{} was rejected: {status}", self.name);
                self.session = None;
                return self;
            }
            acted.send_modify(|actions| *actions += 1);
        }
    }

    async fn act_once(&mut self) -> Result<(), Status> {
        let workload = self.workloads[self.random.usize(..self.workloads.len())].clone();
        let (is_steady, healthy) = (self.workloads.len() == 1, self.random.bool());
        let action = self.random.u8(..10);
        match &mut self.session {
            Some(session) if is_steady || action < 3 => session.report(healthy).await,
            Some(_) if action < 5 => self.leave(State::Absent).await,
            Some(_) if action < 7 => {
                let registration = self.history.last().registration().expect("registered").clone();
                self.leave(State::Lost(registration)).await
            }
            None | Some(_) => self.connect(&workload).await,
        }
    }

    /// Opens a session of this workload. It takes over from an open one, which may be of another workload.
    async fn connect(&mut self, workload: &str) -> Result<(), Status> {
        self.attempt += 1;
        let registration = Registration { workload: workload.to_owned(), attempt: self.attempt };
        let hello = self.hello(&registration);
        self.identity.take_if(|identity| identity.workload != workload);
        self.history.request(State::Connected(registration));
        let session = Session::open(self.channel.clone(), hello).await?;
        self.history.acknowledge(Instant::now());
        self.session = Some(session);
        let request = GetWorkloadRequest { name: workload.to_owned(), ..GetWorkloadRequest::default() };
        let found =
            WorkloadServiceClient::new(self.channel.clone()).get_workload(request).await?.into_inner();
        self.revision = self.revision.max(found.revision);
        let found = Identity::of(&found.workload.expect("a Workload"));
        let known = self.identity.get_or_insert_with(|| found.clone());
        assert_eq!(*known, found, "{} is a member of the Workload all the time", self.name);
        Ok(())
    }

    /// Ends the session: with a goodbye if the dataplane is then absent.
    async fn leave(&mut self, state: State) -> Result<(), Status> {
        let session = self.session.take().expect("a session");
        let unregisters = state == State::Absent;
        self.history.request(state);
        if unregisters {
            self.identity = None;
            session.goodbye().await?;
        } else {
            session.close().await?;
        }
        self.history.acknowledge(Instant::now());
        Ok(())
    }

    /// Continues with a restarted server that has this registration. A client that had a session opens a
    /// new one, and reports that the proxy is ready.
    pub(crate) async fn come_back(mut self, found: Option<Registration>) -> Self {
        let last = self.history.last().clone();
        if found.as_ref() != last.registration() {
            self.identity = None;
        }
        self.history = History::new(found.map_or(State::Absent, State::Lost));
        if let State::Connected(Registration { workload, .. }) = last {
            let back = async {
                self.connect(&workload).await?;
                self.session.as_mut().expect("a session").report(true).await
            };
            timeout(DEADLINE, back).await.expect("an answer in time").expect("a session");
        }
        self
    }

    fn hello(&self, registration: &Registration) -> Hello {
        let mut dataplane: Dataplane = dataplane("default", &registration.workload, &self.name);
        dataplane.labels.insert(ATTEMPT.to_owned(), registration.attempt.to_string());
        Hello {
            dataplane: Some(dataplane),
            agent_version: agent_version(registration.attempt),
            instance: self.instance,
            attempt: registration.attempt,
            ..Hello::default()
        }
    }
}
