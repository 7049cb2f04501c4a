//! A simulated process that runs the real agent for one dataplane.

use headcount::{
    agent::{AgentError, SessionEnd, keep_session},
    model::{Dataplane, Health},
    net::client::Connection,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport;

use crate::{
    client::{self, ConnectedTo},
    net::{Host, Network},
};

/// What the agent returned.
pub type AgentResult = Result<SessionEnd, AgentError>;

/// A running agent. Dropping it aborts the agent, as a crash of its host does.
#[derive(Debug)]
pub struct Agent {
    leave: CancellationToken,
    task: JoinHandle<AgentResult>,
}

impl Agent {
    pub fn start(
        network: &Network,
        host: Host,
        dataplane: Dataplane,
        health: watch::Receiver<Health>,
        tokens: Option<watch::Receiver<String>>,
    ) -> Self {
        let (network, leave) = (network.clone(), CancellationToken::new());
        let connect = move || {
            let (network, tokens) = (network.clone(), tokens.clone());
            async move {
                let channel = client::connect(network, host, ConnectedTo::default()).await?;
                let connection = Connection::from(channel);
                Ok::<_, transport::Error>(match tokens {
                    Some(tokens) => connection.with_tokens(tokens),
                    None => connection,
                })
            }
        };
        let task = tokio::spawn(keep_session(connect, dataplane, health, leave.clone()));
        Self { leave, task }
    }

    /// Asks the agent to send its goodbye and end.
    pub fn leave(&self) {
        self.leave.cancel();
    }

    pub fn is_leaving(&self) -> bool {
        self.leave.is_cancelled()
    }

    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the agent to end by itself.
    pub async fn result(mut self) -> AgentResult {
        (&mut self.task).await.expect("an agent does not panic")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}
