//! Tokens of dataplanes: what each allows, and until when.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use headcount::{
    authentication::token::{Claims, SigningKey, Subject, VerificationKey, issue},
    model::{DataplaneGrant, DataplaneName, KeyAlgorithm, KeyId, KeyUse, Proof, TokenId},
};
use tokio::{sync::watch, time::Instant};

use crate::{dataplane, server::wall_clock};

/// The time within which the session of a token that is no longer valid must have ended.
pub const ENDED_WITHIN: Duration = Duration::from_secs(1);
/// When revocations and tokens that do not expire in a simulation end: in the year 2128.
pub fn end_of_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(5_000_000_000)
}

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(KeyAlgorithm::EdDsa).expect("random numbers"));

fn key_id() -> KeyId {
    KeyId::parse("", "sim").expect("an id")
}

/// The key that the server trusts.
pub fn public_key() -> VerificationKey {
    VerificationKey { id: key_id(), usage: KeyUse::AllMeshes, key: KEY.public_key() }
}

/// A new token of a dataplane.
fn token(dataplane: usize, id: &TokenId, expires: SystemTime) -> String {
    let name = DataplaneName::parse("", &dataplane::name(dataplane)).expect("a name");
    let grant = DataplaneGrant { name: Some(name), ..DataplaneGrant::unrestricted(Proof::Token) };
    let (subject, issued) = (Subject::Dataplane(grant), UNIX_EPOCH);
    let claims = Claims { subject, id: id.clone(), issued, not_before: issued, expires };
    issue(&claims, &key_id(), &KEY).expect("a signature")
}

/// The tokens that were issued to one dataplane, and the one that its agents have.
#[derive(Debug)]
pub struct Tokens {
    dataplane: usize,
    issued: Vec<Issued>,
    /// What the agents send.
    present: watch::Sender<String>,
    /// Whether the agents have the token of another dataplane instead of the one issued last.
    has_another: bool,
}

#[derive(Debug)]
struct Issued {
    id: TokenId,
    expires: Option<Instant>,
    revoked: Option<Instant>,
}

impl Issued {
    fn end(&self) -> Option<Instant> {
        self.expires.into_iter().chain(self.revoked).min()
    }

    fn is_valid(&self, at: Instant) -> bool {
        self.end().is_none_or(|end| at < end)
    }
}

impl Tokens {
    pub fn new(dataplane: usize) -> Self {
        let tokens =
            Self { dataplane, issued: Vec::new(), present: watch::Sender::default(), has_another: false };
        Self { issued: vec![tokens.issue(None)], ..tokens }
    }

    /// The latest token, for an agent.
    pub fn subscribe(&self) -> watch::Receiver<String> {
        self.present.subscribe()
    }

    /// Issues a token that does not expire.
    pub fn renew(&mut self) {
        self.add(None);
    }

    /// Issues a token that expires after this time, in whole seconds of the server's wall clock.
    pub fn renew_for(&mut self, time: Duration) {
        self.add(Some(time));
    }

    fn add(&mut self, time: Option<Duration>) {
        let issued = self.issue(time);
        self.issued.push(issued);
        self.has_another = false;
    }

    fn issue(&self, time: Option<Duration>) -> Issued {
        let number = self.issued.len();
        let id = TokenId::parse("", &format!("token-{}-{number}", self.dataplane)).expect("an id");
        let now = wall_clock().duration_since(UNIX_EPOCH).expect("a time of our era");
        let expires = time.map(|time| Duration::from_secs((now + time).as_secs() + 1));
        let text = token(self.dataplane, &id, expires.map_or_else(end_of_time, |at| UNIX_EPOCH + at));
        self.present.send_replace(text);
        Issued { id, expires: expires.map(|at| Instant::now() + at.saturating_sub(now)), revoked: None }
    }

    /// Gives the agents the token of another dataplane.
    pub fn replace_by_token_of(&mut self, other: usize) {
        let id = TokenId::parse("", &format!("other-{other}")).expect("an id");
        self.present.send_replace(token(other, &id, end_of_time()));
        self.has_another = true;
    }

    /// The identifiers of all tokens that were issued.
    pub fn ids(&self) -> Vec<TokenId> {
        self.issued.iter().map(|issued| issued.id.clone()).collect()
    }

    /// The server has revoked all of them.
    pub fn revoked(&mut self) {
        for issued in &mut self.issued {
            issued.revoked.get_or_insert_with(Instant::now);
        }
    }

    /// The server has started without what an earlier one has stored.
    pub fn forgot_revocations(&mut self) {
        self.issued.iter_mut().for_each(|issued| issued.revoked = None);
    }

    /// Whether the server accepts the token that the agents have.
    pub fn allow_a_session(&self) -> bool {
        let valid = self.issued.last().is_some_and(|issued| issued.is_valid(Instant::now()));
        valid && !self.has_another
    }

    /// Whether a session may be open: it may have been opened with any of the tokens.
    pub fn may_be_connected(&self) -> bool {
        let latest = Instant::now().checked_sub(ENDED_WITHIN);
        latest.is_none_or(|at| self.issued.iter().any(|issued| issued.is_valid(at)))
    }

    /// When the last token expires that has not yet.
    pub fn last_expiry(&self) -> Option<Instant> {
        self.issued.iter().filter_map(|issued| issued.expires).max()
    }
}
