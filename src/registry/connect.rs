//! Connecting: everything between a hello and an open session.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::{
    Accounts, Client, IdlePolicy, LimitReached, Registry, RetryBehavior, Session,
    admission::{ClientClass, Hello, HoldOff, NotAdmitted, Stage, footprint},
    counts::Conflict,
    events::{Reason, Regarding, UnknownProxy},
    shared::Shared,
};
use crate::{
    access::Caller,
    model::{Dataplane, DataplaneKey, MeshName, WORKLOAD_LABEL, WorkloadKey},
    runtime::sync::atomic::Ordering::Relaxed,
};

/// How often a held-off client that ignores retry delays is checked for admission. Envoy
/// itself would retry twice a second, with 60 kB each time.
const HOLD_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long such a client is held off before it is rejected.
const HOLD_LIMIT: Duration = Duration::from_secs(30);

/// How a client connects.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The client.
    pub client: Client,
    /// What it does with a retry delay.
    pub retry: RetryBehavior,
    /// How long the session may be idle.
    pub idle: IdlePolicy,
    /// Must have the right to a registration of the dataplane that it takes over. None, as within
    /// this process, takes over any.
    pub caller: Option<Caller>,
}

impl ConnectOptions {
    /// Options of an unknown client that honors retry delays and whose session may be idle
    /// for `idle_timeout`.
    pub fn new(idle_timeout: Duration) -> Self {
        Self {
            client: Client::default(),
            retry: RetryBehavior::HonorsRetryAfter,
            idle: IdlePolicy { timeout: idle_timeout, startup_grace: Duration::ZERO },
            caller: None,
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

/// Why no session was opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A limit is reached.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// A newer hello of the dataplane has arrived: this one is a stale attempt, or was replaced
    /// while it waited for the flap interval.
    #[error("a newer session of this dataplane took over")]
    Superseded,
    /// Another client with the same identity has the session and lives.
    #[error(
        "another process with the identity of this dataplane is connected, at {present}: stop one of them, or give each proxy a name of its own"
    )]
    HeldOff {
        /// The client that is connected.
        present: Client,
        /// When to retry.
        retry_after: Duration,
    },
    /// The dataplane is registered, and the caller has no right to it as it is registered.
    #[error(
        "the registered dataplane of this name has a workload or tags for which this credential is not valid: unregister it first, or use a credential that is valid for both"
    )]
    NotOwner,
}

impl Registry {
    /// Whether a new session would be admitted now. To be called before a hello is read,
    /// so that rejecting a client in a reconnect storm costs next to nothing.
    ///
    /// # Errors
    ///
    /// [`LimitReached::SessionRate`].
    pub fn check_session_rate(&self, retry: RetryBehavior) -> Result<(), LimitReached> {
        self.shared.rate_limiter.check(ClientClass::Unidentified, retry)
    }

    /// Registers a dataplane and opens its session. A session that it already has is
    /// taken over and gets [`Notice::Superseded`](super::Notice::Superseded).
    ///
    /// A dataplane that last connected less than the flap interval ago waits until the
    /// interval is over, so that a dataplane that reconnects in a loop does not flood the
    /// watchers with changes. If another hello of the dataplane arrives meanwhile, this one
    /// fails. Cancelling the future leaves no registration behind.
    ///
    /// # Errors
    ///
    /// As [`ConnectError`] states.
    pub async fn connect(
        &self,
        dataplane: Dataplane,
        options: ConnectOptions,
    ) -> Result<Connected, ConnectError> {
        let class = self.class(&dataplane.key);
        self.shared.rate_limiter.check(class, options.retry)?;
        let idle = options.idle;
        let session = self.open(dataplane, options).await?;
        self.shared.idle.track(&session.cell, idle);
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

    /// Hellos that were held off because another client of the same identity was connected.
    pub fn held_off(&self) -> u64 {
        self.shared.held_off.load(Relaxed)
    }

    pub(crate) fn class(&self, key: &DataplaneKey) -> ClientClass {
        let known = self.shared.dataplanes.contains_key(key);
        if known { ClientClass::Registered } else { ClientClass::New }
    }

    /// Registers a dataplane, waits before that if it must, and opens its session.
    async fn open(
        &self,
        mut dataplane: Dataplane,
        ConnectOptions { client, retry, caller, .. }: ConnectOptions,
    ) -> Result<Session, ConnectError> {
        self.shared.deduplicate(&mut dataplane);
        let accounts = Accounts::of(caller.as_ref(), client.peer);
        let bytes = footprint(&dataplane) + accounts.memory();
        let dataplane = Arc::new(dataplane);
        let id = self.shared.hellos.fetch_add(1, Relaxed) + 1;
        let mut hello = Hello { id, client, stage: Stage::New };
        let of =
            Registering { dataplane: &dataplane, bytes, accounts: &accounts, caller: caller.as_ref(), retry };
        let (mut rejected_at, mut place, mut _waiting) = (None, None, None);
        loop {
            match self.register(&of, &hello) {
                Ok(session) => return Ok(session),
                Err(NotAdmitted::Limit(limit)) => return Err(limit.into()),
                Err(NotAdmitted::Superseded) => return Err(ConnectError::Superseded),
                Err(NotAdmitted::NotOwner) => return Err(ConnectError::NotOwner),
                Err(NotAdmitted::Wait(connect_at)) => {
                    // Kept until it has connected, or this future is dropped.
                    _waiting = Some(Waiting { shared: &self.shared, key: &dataplane.key, hello: id });
                    sleep_until(connect_at).await;
                    hello.stage = Stage::Waited;
                }
                Err(NotAdmitted::HeldOff(held)) => {
                    self.held(&dataplane.key, &hello, &held);
                    let now = Instant::now();
                    let rejected_at = *rejected_at.get_or_insert(now + HOLD_LIMIT);
                    if retry == RetryBehavior::IgnoresRetryAfter && place.is_none() {
                        place = self.shared.holds.try_acquire().ok();
                    }
                    if place.is_none() || now >= rejected_at {
                        let HoldOff { present, retry_after, .. } = held;
                        return Err(ConnectError::HeldOff { present, retry_after });
                    }
                    sleep(HOLD_CHECK_INTERVAL).await;
                    hello.stage = Stage::HeldOff;
                }
            }
        }
    }

    /// Registers a dataplane. At the limit of dataplanes or of their memory, it replaces
    /// those that have been lost for longest.
    fn register(&self, of: &Registering<'_>, hello: &Hello) -> Result<Session, NotAdmitted> {
        let now = self.shared.wall_clock();
        let register = || self.shared.register(of, hello, now);
        let mut registered = register();
        // In a loop, because another new dataplane may register first.
        while let Err(NotAdmitted::Limit(limit)) = &registered
            && self.make_room(limit, of.bytes)
        {
            registered = register();
        }
        registered
    }

    /// Unregisters a lost dataplane if that can make room for one of this size. Returns
    /// whether it has.
    fn make_room(&self, rejected: &LimitReached, bytes: usize) -> bool {
        match rejected {
            LimitReached::Dataplanes { .. } => self.shared.expire_oldest(None),
            LimitReached::RegisteredBytes { limit } => bytes <= *limit && self.shared.expire_oldest(None),
            LimitReached::MeshRegisteredBytes { mesh, limit } => {
                bytes <= *limit && self.shared.expire_oldest(Some(mesh))
            }
            _ => false,
        }
    }

    /// Counts a hello that is held off, and records an event if both clients live.
    fn held(&self, key: &DataplaneKey, hello: &Hello, held: &HoldOff) {
        if hello.stage != Stage::HeldOff {
            self.shared.held_off.fetch_add(1, Relaxed);
        }
        if held.report {
            let (present, other) = (held.present, hello.client);
            let message = format!(
                "Two processes register dataplane {key}: {present} is connected, {other} is held off until that one \
                 ends. Stop one of them, or give each proxy a name of its own. A hot restart of Envoy needs no action."
            );
            warn!(dataplane = %key, %present, held_off = %other, "two processes register one dataplane");
            let proxy = UnknownProxy::new(key.namespace.clone(), key.name.as_str());
            let now = self.shared.wall_clock();
            self.shared.events.record(Reason::DuplicateIdentity, Regarding::Proxy(proxy), None, message, now);
        }
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

/// What a hello registers, and for whom.
pub(crate) struct Registering<'a> {
    pub(crate) dataplane: &'a Arc<Dataplane>,
    /// The memory that it takes.
    pub(crate) bytes: usize,
    pub(crate) accounts: &'a Accounts,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) retry: RetryBehavior,
}

/// Takes a hello that is cancelled out of the history of its dataplane, so that it replaces no
/// other one. Without effect once the hello has connected or was replaced.
struct Waiting<'a> {
    shared: &'a Shared,
    key: &'a DataplaneKey,
    hello: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.histories.cancel(self.key, self.hello);
    }
}
