//! Verification of tokens.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use super::{PublicKey, Subject, TokenError, VerificationKeys, claims::RawClaims};
use crate::{
    authentication::jws::Jws,
    model::{KeyId, KeyUse, Principal, Revocation, TokenId},
};

/// Verifies tokens with a set of keys and revocations. It does not change: when they do, there is
/// a new one. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: VerificationKeys,
    revoked: Revocations,
}

/// The tokens that have been revoked.
#[derive(Debug, Clone, Default)]
pub struct Revocations(HashSet<TokenId>);

/// Why a token is not accepted, and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::authentication) struct Rejected {
    pub(in crate::authentication) error: TokenError,
    /// Its identifier, if a trusted key has signed it. That of another token is whatever its sender
    /// has chosen, perhaps the identifier of a token of another caller.
    pub(in crate::authentication) id: Option<TokenId>,
}

impl From<TokenError> for Rejected {
    fn from(error: TokenError) -> Self {
        Self { error, id: None }
    }
}

/// A valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The holder.
    pub subject: Subject,
    /// Its identifier.
    pub id: TokenId,
    /// The use of the key that has signed it.
    pub key_use: KeyUse,
    /// The key that has signed it.
    pub key_id: KeyId,
    /// When it ends.
    pub expires: SystemTime,
    /// The key itself: another one may get the same identifier.
    key: PublicKey,
}

impl Verifier {
    /// Verifies with these keys, and rejects tokens that are revoked.
    pub fn new(keys: VerificationKeys, revoked: Revocations) -> Self {
        Self(Arc::new(Inner { keys, revoked }))
    }

    /// Whether there are keys. Without any, no token is valid.
    pub fn has_keys(&self) -> bool {
        !self.0.keys.is_empty()
    }

    /// Verifies a token at a time of day.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks. The text never contains the token.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, TokenError> {
        self.verify_parsed(&Jws::parse(token)?, now).map_err(|rejected| rejected.error)
    }

    /// As [`Verifier::verify`], for a token that was parsed.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`].
    pub(in crate::authentication) fn verify_parsed(
        &self,
        jws: &Jws<'_>,
        now: SystemTime,
    ) -> Result<Verified, Rejected> {
        let claims = RawClaims::parse(&jws.payload)?;
        // Not trusted until the signature is verified: they only select the key.
        let usage = claims.usage()?;
        let (key_use, key) = self.signed_with(jws, &usage)?;
        let signed = claims.id();
        let id = signed.as_ref().ok().cloned();
        let verify = || {
            let expires = claims.check_times(now)?;
            let (id, subject) = (signed?, claims.subject()?);
            let verified = Verified { subject, id, key_use, key_id: jws.key_id.clone(), expires, key };
            self.recheck(&verified)?;
            Ok(verified)
        };
        verify().map_err(|error| Rejected { error, id })
    }

    /// Checks again that a token that was verified before is not revoked, and that its key is
    /// still there. Its time is not checked.
    ///
    /// # Errors
    ///
    /// If the token is revoked, or its key was removed.
    pub fn recheck(&self, token: &Verified) -> Result<(), TokenError> {
        let (keys, usage, id) = (&self.0.keys, &token.key_use, &token.key_id);
        self.check_id(&token.id)?;
        if !keys.candidates(usage, id).any(|found| found == (usage, &token.key)) {
            return Err(TokenError::UnknownKey { id: id.clone(), usage: usage.clone() });
        }
        Ok(())
    }

    /// Checks that no token with this identifier is revoked, of whatever key.
    ///
    /// # Errors
    ///
    /// If it is revoked.
    pub fn check_id(&self, id: &TokenId) -> Result<(), TokenError> {
        if self.0.revoked.0.contains(id) { Err(TokenError::Revoked) } else { Ok(()) }
    }

    /// The identifier of a token, and when it ends if a key has signed it: a forged token can state any end.
    /// The token may have ended, or be revoked.
    ///
    /// # Errors
    ///
    /// If the token is malformed, or has no identifier or no end. The text never contains the token.
    pub fn identify(&self, token: &str) -> Result<(TokenId, Option<SystemTime>), TokenError> {
        let jws = Jws::parse(token)?;
        let claims = RawClaims::parse(&jws.payload)?;
        let (id, end) = (claims.id()?, claims.end()?);
        let is_signed = claims.usage().is_ok_and(|usage| self.signed_with(&jws, &usage).is_ok());
        Ok((id, is_signed.then_some(end)))
    }

    /// Returns the key that has signed a token, and its use.
    fn signed_with(&self, jws: &Jws<'_>, usage: &KeyUse) -> Result<(KeyUse, PublicKey), TokenError> {
        let mut problem = None;
        for (found, key) in self.0.keys.candidates(usage, &jws.key_id) {
            match key.verify(jws) {
                Ok(()) => return Ok((found.clone(), key.clone())),
                Err(error @ TokenError::Signature(_)) => problem = Some(error),
                Err(error) => drop(problem.get_or_insert(error)),
            }
        }
        let unknown = || TokenError::UnknownKey { id: jws.key_id.clone(), usage: usage.clone() };
        Err(problem.unwrap_or_else(unknown))
    }
}

/// The identifier of a token, for its revocation. Nothing is verified.
///
/// # Errors
///
/// If the token is malformed, or has no identifier. The text never contains the token.
pub fn identify(token: &str) -> Result<TokenId, TokenError> {
    RawClaims::parse(&Jws::parse(token)?.payload)?.id()
}

impl Verified {
    /// The principal that the token proves.
    pub fn principal(&self) -> Principal {
        self.subject.clone().into()
    }
}

impl FromIterator<Revocation> for Revocations {
    fn from_iter<I: IntoIterator<Item = Revocation>>(revocations: I) -> Self {
        Self(revocations.into_iter().map(|revocation| revocation.id).collect())
    }
}
