//! A process that runs the real agent, for one dataplane.

use headcount::{
    agent::{AgentError, SessionEnd, keep_session},
    model::{Dataplane, Health},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{self, Life},
    net::{Host, Network},
};

/// How an agent ended by itself.
pub type Ended = Result<SessionEnd, AgentError>;

/// A running agent. Dropping it ends it where it stands.
#[derive(Debug)]
pub struct Agent {
    leave: CancellationToken,
    task: JoinHandle<Ended>,
}

impl Agent {
    pub fn start(
        network: &Network,
        host: Host,
        dataplane: Dataplane,
        health: watch::Receiver<Health>,
    ) -> Self {
        let (network, leave) = (network.clone(), CancellationToken::new());
        let connect = move || client::connect(network.clone(), host, Life::default());
        let task = tokio::spawn(keep_session(connect, dataplane, health, leave.clone()));
        Self { leave, task }
    }

    /// Tells it to say goodbye and end.
    pub fn leave(&self) {
        self.leave.cancel();
    }

    pub fn is_leaving(&self) -> bool {
        self.leave.is_cancelled()
    }

    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// How it ended, once it has.
    pub async fn ended(mut self) -> Ended {
        (&mut self.task).await.expect("an agent does not panic")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}
