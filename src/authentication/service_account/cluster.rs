//! Verification of `ServiceAccount` tokens with the keys of a cluster.

use std::{sync::Arc, time::SystemTime};

use super::{Claims, ServiceAccountError, claims::BoundPod, jwks::Keys};
use crate::{
    authentication::{jws::Jws, token::PublicKey},
    model::{DataplaneGrant, KeyId, MeshName, Principal, Proof, TokenId},
};

/// What the tokens must be, besides valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Their issuer (`iss`).
    pub issuer: String,
    /// The audience that they are for (`aud`).
    pub audience: String,
    /// The mesh of the dataplanes; any if there is none.
    pub mesh: Option<MeshName>,
}

/// The cluster whose tokens are accepted. It does not change: when its keys do, there is a new one.
#[derive(Debug, PartialEq, Eq)]
pub struct Cluster {
    rules: Arc<Rules>,
    keys: Keys,
}

/// A valid token.
#[derive(Debug, Clone)]
pub struct Verified {
    pod: BoundPod,
    id: Option<TokenId>,
    /// When it ends.
    pub expires: SystemTime,
    rules: Arc<Rules>,
    key_id: KeyId,
    key: PublicKey,
}

impl Cluster {
    /// The cluster with these keys, and the rules for its tokens.
    pub fn new(rules: Rules, keys: Keys) -> Self {
        Self { rules: Arc::new(rules), keys }
    }

    /// Verifies a token at a time of day; none if it is of another kind.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks. The text never contains the token.
    pub fn verify_token(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Option<Verified>, ServiceAccountError> {
        let jws = Jws::parse(token)?;
        let claims = Claims::parse(&jws.payload)?;
        claims.map(|claims| self.verify(&jws, &claims, now)).transpose()
    }

    /// As [`Cluster::verify_token`], for a token that is parsed.
    pub(super) fn verify(
        &self,
        jws: &Jws<'_>,
        claims: &Claims,
        now: SystemTime,
    ) -> Result<Verified, ServiceAccountError> {
        // Not trusted until the signature is verified. The token of another cluster is no reason to
        // fetch the keys of this one again.
        if !claims.is_of_issuer(&self.rules.issuer) {
            return Err(ServiceAccountError::Issuer(self.rules.issuer.clone()));
        }
        let key = self.keys.get(&jws.key_id);
        let key = key.ok_or_else(|| ServiceAccountError::UnknownKey(jws.key_id.clone()))?;
        key.verify(jws)?;
        let expires = claims.check_times(now)?;
        if !claims.is_for(&self.rules.audience) {
            return Err(ServiceAccountError::Audience(self.rules.audience.clone()));
        }
        let (pod, id) = (claims.pod()?, claims.id()?);
        let (key_id, key) = (jws.key_id.clone(), key.clone());
        Ok(Verified { pod, id, expires, rules: Arc::clone(&self.rules), key_id, key })
    }

    /// Checks again that a token that was verified before is accepted. Its time is not checked.
    ///
    /// # Errors
    ///
    /// If the rules have changed, or the key was removed.
    pub(super) fn recheck(&self, token: &Verified) -> Result<(), ServiceAccountError> {
        if self.rules != token.rules {
            return Err(ServiceAccountError::RulesChanged);
        }
        if self.keys.get(&token.key_id) != Some(&token.key) {
            return Err(ServiceAccountError::UnknownKey(token.key_id.clone()));
        }
        Ok(())
    }
}

impl Verified {
    /// The dataplane that the token proves: the one of its Pod.
    pub fn principal(&self) -> Principal {
        Principal::Dataplane(DataplaneGrant {
            mesh: self.rules.mesh.clone(),
            namespace: Some(self.pod.namespace.clone()),
            name: Some(self.pod.name.clone()),
            service_account: Some(self.pod.service_account.clone()),
            ..DataplaneGrant::unrestricted(Proof::ServiceAccountToken)
        })
    }

    /// The token's identifier, if it has one.
    pub fn id(&self) -> Option<&TokenId> {
        self.id.as_ref()
    }

    /// Names the token in the audit log: by its identifier, or by the UID of its Pod.
    pub fn label(&self) -> String {
        match &self.id {
            Some(id) => id.to_string(),
            None => format!("of Pod {:?}", self.pod.uid),
        }
    }
}
