//! Tokens that were accepted: when they no longer are, and what the audit log has of them.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::*;
use crate::{
    access::{Access, CredentialId, Policy, RefusalReason},
    authentication::{
        AuthenticationError, Trust,
        service_account::{refresh::Accepted, reviews::Reviews},
        token::{Revocations, VerificationKeys, Verifier},
    },
    model::{KeyId, Revocation, TokenId},
    registry::{Registry, RegistrySettings},
    telemetry::metrics::Metrics,
};

fn trust(clock: fn() -> SystemTime, service_accounts: ServiceAccounts) -> Trust {
    let access = Access::new(Policy::default(), clock);
    Trust { service_accounts, clock, ..Trust::without_credentials(access) }
}

fn authenticate(trust: &Trust) -> Result<crate::access::Caller, AuthenticationError> {
    trust
        .listener(AnonymousAccess::Public)
        .authenticate_token(&mint("ES256", "ec", &claims()))
        .map_err(|rejected| rejected.error)
}

#[test]
fn a_token_needs_the_setting_and_can_be_revoked() {
    let error = authenticate(&trust(now, ServiceAccounts::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "authentication failed: this server accepts no ServiceAccount tokens: set serviceAccountTokens in its access \
         file"
    );
    assert_eq!(error.reason(), RefusalReason::BadCredential);
    let mut trust = trust(now, ServiceAccounts::ready(cluster()));
    let caller = authenticate(&trust).unwrap();
    let credential = caller.credential().unwrap();
    assert_eq!(credential.id, CredentialId::ServiceAccountToken("token-1".into()));
    assert_eq!((credential.recheck)(), Ok(()));
    let revocation = Revocation { id: TokenId::parse("jti", "token-1").unwrap(), expires: now() };
    let revoking = Verifier::new(VerificationKeys::default(), Revocations::from_iter([revocation]));
    let (_sender, verifier) = watch::channel(revoking);
    trust.verifier = verifier;
    let error = authenticate(&trust).unwrap_err();
    assert_eq!(error.to_string(), "authentication failed: token is revoked");
    assert_eq!(error.reason(), RefusalReason::Revoked);
}

#[test]
fn an_expired_token_is_refused_for_that_reason() {
    let later = || now() + Duration::from_hours(1);
    let error = authenticate(&trust(later, ServiceAccounts::ready(cluster()))).unwrap_err();
    assert_eq!(error.reason(), RefusalReason::Expired);
}

#[test]
fn other_rules_or_another_key_of_the_same_identifier_end_what_was_accepted() {
    let verified = verify(&cluster(), &mint("ES256", "ec", &claims())).unwrap();
    let keys = || jwks::parse(JWKS.as_bytes()).unwrap();
    assert_eq!(cluster().recheck(&verified), Ok(()));
    for more in [", audience: other", ", mesh: retail"] {
        let changed = Cluster::new(settings(more).rules(None).unwrap(), keys());
        assert_eq!(changed.recheck(&verified), Err(ServiceAccountError::RulesChanged));
    }
    let mut replaced = keys();
    let [rsa, ec] = ["rsa", "ec"].map(|id| KeyId::parse("kid", id).unwrap());
    let other = replaced[&rsa].clone();
    replaced.insert(ec.clone(), other);
    let replaced = Cluster::new(settings("").rules(None).unwrap(), replaced);
    assert_eq!(replaced.recheck(&verified), Err(ServiceAccountError::UnknownKey(ec)));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_no_longer_accepted_after_its_review_was_rejected() {
    let reviews = Reviews::default();
    reviews.set_interval(Some(Duration::from_mins(5)));
    let text = mint("ES256", "ec", &claims());
    let review = reviews.accept(&text, now()).unwrap();
    let accepted = Accepted::new(verify(&cluster(), &text).unwrap(), review);
    assert!(!format!("{accepted:?} {reviews:?}").contains(&text), "a secret is never in a log");
    let accounts = ServiceAccounts::ready(cluster());
    assert_eq!(accounts.recheck(&accepted), Ok(()));
    let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap().service_accounts;
    let rejected = Arc::new(Notify::new());
    let on_rejected = || rejected.notify_one();
    tokio::select! {
        never = reviews.run(&metrics, &on_rejected, async |_| Ok(false)) => match never {},
        () = rejected.notified() => {}
    }
    assert_eq!(accounts.recheck(&accepted), Err(ServiceAccountError::Rejected));
}
