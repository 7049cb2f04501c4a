//! Connecting: everything between a hello and an open session.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    IdlePolicy, LimitReached, Registry, RetryBehavior, Session,
    admission::ClientClass,
    counts::Conflict,
    events::{Reason, Regarding},
};
use crate::model::{Attempt, Dataplane, DataplaneKey, MeshName, WORKLOAD_LABEL, WorkloadKey};

/// How a client connects.
#[derive(Debug, Clone, Copy)]
pub struct ConnectOptions {
    /// Which attempt of which agent this is; the default for clients that do not state
    /// it.
    pub attempt: Attempt,
    /// What the client does with a retry delay.
    pub retry: RetryBehavior,
    /// How long the session may be idle.
    pub idle: IdlePolicy,
}

impl ConnectOptions {
    /// Options of a client that honors retry delays and whose session may be idle for
    /// `idle_timeout`.
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            attempt: Attempt::default(),
            retry: RetryBehavior::HonorsRetryAfter,
            idle: IdlePolicy { timeout: idle_timeout, startup_grace: Duration::ZERO },
        }
    }
}

/// An open session.
#[derive(Debug)]
pub struct Connected {
    /// Dropping it is the disconnect.
    pub session: Session,
    /// Warnings for the operator, as sentences.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Whether a new session would be admitted now. To be called before a hello is read,
    /// so that rejecting a client in a reconnect storm costs next to nothing.
    ///
    /// # Errors
    ///
    /// [`LimitReached::SessionRate`].
    pub fn check_session_rate(&self, retry: RetryBehavior) -> Result<(), LimitReached> {
        self.shared.rate_limiter.admit(ClientClass::Unidentified, retry)
    }

    /// Registers a dataplane and opens its session. A session that it already has is
    /// taken over and gets [`Notice::Superseded`](super::Notice::Superseded).
    ///
    /// A dataplane that last connected less than the flap interval ago waits until the
    /// interval is over, so that a dataplane that reconnects in a loop does not flood the
    /// watchers with changes. Cancelling the future leaves no registration behind.
    ///
    /// # Errors
    ///
    /// The limit that rejected it.
    pub async fn connect(
        &self,
        dataplane: Dataplane,
        options: ConnectOptions,
    ) -> Result<Connected, LimitReached> {
        let connect_at = self.admit(&dataplane.key, options.retry)?;
        // Most dataplanes need not wait. A timer would delay them by up to its resolution,
        // a millisecond.
        if connect_at > Instant::now() {
            sleep_until(connect_at).await;
        }
        let session = self.register(dataplane, options.attempt)?;
        self.shared.idle.track(&session.cell, options.idle);
        let mesh = &session.dataplane().key.mesh;
        let conflict = session.entry.read(|members| members.conflict(mesh));
        let mut warnings: Vec<_> =
            conflict.map(|conflict| self.record_conflict(mesh, conflict)).into_iter().collect();
        if session.dataplane().workload.is_none() {
            warnings.push(format!(
                "the dataplane names no workload (label {WORKLOAD_LABEL}): it counts in the sums of mesh {mesh} only"
            ));
        }
        Ok(Connected { session, warnings })
    }

    /// Takes a token of the session rate, and returns when the dataplane may connect.
    pub(crate) fn admit(&self, key: &DataplaneKey, retry: RetryBehavior) -> Result<Instant, LimitReached> {
        let opened = self.shared.dataplanes.get(key).map(|known| known.presence.opened());
        let class = if opened.is_some() { ClientClass::Registered } else { ClientClass::New };
        self.shared.rate_limiter.admit(class, retry)?;
        Ok(opened.map_or_else(Instant::now, |opened| opened + self.shared.settings.flap_interval))
    }

    /// Registers a dataplane. At the limit of dataplanes, it replaces the one that has
    /// been lost for longest.
    fn register(&self, mut dataplane: Dataplane, attempt: Attempt) -> Result<Session, LimitReached> {
        let now = self.shared.wall_clock();
        self.shared.deduplicate(&mut dataplane);
        let dataplane = Arc::new(dataplane);
        let register = || self.shared.register(&dataplane, attempt, now);
        let mut registered = register();
        // In a loop, because another new dataplane may register first.
        while let Err(LimitReached::Dataplanes { .. }) = &registered
            && self.shared.expire_oldest()
        {
            registered = register();
        }
        registered
    }

    /// Records that several meshes name one workload, and returns the warning for the
    /// client.
    fn record_conflict(&self, mesh: &MeshName, conflict: Conflict) -> String {
        let Conflict { key, holder, meshes } = conflict;
        let WorkloadKey { namespace, name } = &key;
        let message = format!(
            "Skipping Workload generation: namespace {namespace} has dataplanes in multiple meshes ({meshes} meshes) \
             for workload {name}. This configuration is not supported."
        );
        let reason = match &holder {
            Some(holder) => format!("mesh {holder} holds the name"),
            None => "no mesh holds the name while several use it".to_owned(),
        };
        let warning =
            format!("{message} Dataplanes of mesh {mesh} are not counted: {reason}. Use one mesh per name.");
        let now = self.shared.wall_clock();
        self.shared.events.record(
            Reason::MultipleMeshesDetected,
            Regarding::Workload(key),
            holder,
            message,
            now,
        );
        warning
    }
}
