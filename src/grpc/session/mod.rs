//! Sessions: the streams on which dataplanes connect.
//!
//! ```text
//! agent_stream  headcount's own protocol ─┐
//!                                         ├─► admission ─► active (one open session) ─► registry
//! envoy_stream  Envoy's health discovery ─┘
//! ```
//!
//! The two protocols differ in their messages only. Limits, throttling, takeover, idle
//! timeout, drain, logs and metrics are the same code, so a dataplane may change from
//! one protocol to the other, and that is a takeover.

mod active;
mod admission;
mod agent_stream;
mod envoy_stream;
mod rejections;

pub(super) use self::{admission::SessionAdmission, agent_stream::AgentStream, envoy_stream::Envoys};

use std::{net::SocketAddr, sync::Arc};

use tonic::{Code, Status};

use super::{
    access::{caller, control},
    connection::ConnectionAge,
};
use crate::{
    access::{Action, Object},
    audit::{AccessControl, AuditedCaller},
    model::{Principal, Proof},
    net::rejection::rejection,
};

/// The client of a stream, before it has sent a message.
#[derive(Debug, Clone)]
pub(super) struct StreamClient {
    age: ConnectionAge,
    caller: AuditedCaller,
    control: Arc<AccessControl>,
}

impl StreamClient {
    /// # Errors
    ///
    /// If the caller may not register any dataplane.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let caller = caller(request)?;
        caller.allow(Action::RegisterDataplane, Object::Server)?;
        Ok(Self { age: ConnectionAge::of(request), caller, control: control(request)? })
    }

    /// The address of the client.
    fn peer(&self) -> Option<SocketAddr> {
        self.caller.peer()
    }

    /// Whether a token has opened the stream, which the client may replace.
    fn has_token(&self) -> bool {
        match self.caller.principal() {
            Principal::Dataplane(grant) => grant.proof != Proof::Certificate,
            _ => false,
        }
    }

    /// Verifies a new token of the client.
    async fn renew(self, token: String) -> Renewed {
        let renewed = self.control.renew(&self.caller, &token).await;
        renewed.map_err(|error| rejection(Code::Unauthenticated, error.to_string()))
    }
}

/// The caller that a new token proves.
type Renewed = Result<AuditedCaller, Status>;

/// How a stream ends.
enum End {
    /// With a status that states the reason.
    Status(Status),
    /// Without an error status: the client has ended the stream or disconnected.
    WithoutStatus,
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

#[cfg(test)]
mod tests;
