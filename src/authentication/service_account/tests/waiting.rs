//! Calls and sessions that wait for a key.

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    refresh::{REPLACED, Refreshing},
    *,
};
use crate::{
    authentication::{AuthenticationError, RejectedCredential},
    registry::{Registry, RegistrySettings},
    telemetry::metrics::Metrics,
};

impl Refreshing {
    /// Begins calls with tokens of the key `kid`.
    fn begin(&self, who: AwaitsKey, kid: &str, calls: usize) -> Vec<Call> {
        let token = mint("ES256", kid, &claims());
        let call = || {
            let (accounts, token) = (self.accounts.clone(), token.clone());
            tokio::spawn(async move {
                let authenticate = || {
                    let jws = Jws::parse(&token)?;
                    let claims = Claims::parse(&jws.payload)?.expect("a ServiceAccount token");
                    Ok(accounts.verify(&jws, &claims, now()).map(drop)?)
                };
                accounts.await_key(who, authenticate).await
            })
        };
        (0..calls).map(|_| call()).collect()
    }
}

type Call = JoinHandle<Result<(), RejectedCredential>>;

async fn problem(call: Call) -> ServiceAccountError {
    match call.await.unwrap() {
        Err(RejectedCredential { error: AuthenticationError::ServiceAccount(error), .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_waits_for_one_fetch_of_a_new_key() {
    let refreshing = Refreshing::start(|fetch| Ok(if fetch == 0 { JWKS } else { REPLACED }));
    refreshing.after(8).await;
    let began = Instant::now();
    let sessions = refreshing.begin(AwaitsKey::Session, "other", 1_000);
    let calls = refreshing.begin(AwaitsKey::Call, "other", 1_000);
    for call in sessions.into_iter().chain(calls) {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!((began.elapsed().as_secs(), refreshing.fetches()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_longer_than_a_call_and_keys_are_fetched_meanwhile() {
    let refreshing = Refreshing::start(|fetch| match fetch {
        1 => anyhow::bail!("down"),
        0 | 2 | 3 => Ok(JWKS),
        _ => Ok(REPLACED),
    });
    refreshing.after(5).await;
    let began = Instant::now();
    let [first] = refreshing.begin(AwaitsKey::Session, "other", 1).try_into().unwrap();
    let [call] = refreshing.begin(AwaitsKey::Call, "other", 1).try_into().unwrap();
    let unknown = ServiceAccountError::UnknownKey(crate::model::KeyId::parse("", "other").unwrap());
    assert_eq!(problem(call).await, unknown);
    assert_eq!(began.elapsed().as_secs(), 4);
    assert_eq!(problem(first).await, unknown);
    assert_eq!((began.elapsed().as_secs(), refreshing.fetches()), (30, 4));
    let [second] = refreshing.begin(AwaitsKey::Session, "other", 1).try_into().unwrap();
    assert_eq!(second.await.unwrap(), Ok(()), "the fifth fetch has the key");
    assert_eq!((began.elapsed().as_secs(), refreshing.fetches()), (36, 5));
}

#[tokio::test(start_paused = true)]
async fn the_number_that_wait_is_bounded() {
    let refreshing = Refreshing::start(|fetch| Ok(if fetch == 0 { JWKS } else { REPLACED }));
    refreshing.after(8).await;
    let calls = refreshing.begin(AwaitsKey::Call, "other", AwaitsKey::Call.most());
    tokio::task::yield_now().await;
    let began = Instant::now();
    let [excess] = refreshing.begin(AwaitsKey::Call, "other", 1).try_into().unwrap();
    assert_eq!(problem(excess).await, ServiceAccountError::TooManyWait);
    assert_eq!(began.elapsed(), Duration::ZERO, "it does not wait");
    let [known] = refreshing.begin(AwaitsKey::Call, "ec", 1).try_into().unwrap();
    let [session] = refreshing.begin(AwaitsKey::Session, "other", 1).try_into().unwrap();
    for call in calls.into_iter().chain([known, session]) {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    let [later] = refreshing.begin(AwaitsKey::Call, "nobody", 1).try_into().unwrap();
    assert!(matches!(problem(later).await, ServiceAccountError::UnknownKey(_)), "there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_call_also_waits_for_the_first_keys() {
    let refreshing = Refreshing::start(|fetch| if fetch == 0 { anyhow::bail!("down") } else { Ok(JWKS) });
    refreshing.accounts.begin();
    refreshing.after(8).await;
    let [call] = refreshing.begin(AwaitsKey::Call, "ec", 1).try_into().unwrap();
    assert_eq!(call.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_when_the_setting_is_removed() {
    let refreshing = Refreshing::start(|_| Ok(JWKS));
    refreshing.after(1).await;
    let began = Instant::now();
    let [session] = refreshing.begin(AwaitsKey::Session, "other", 1).try_into().unwrap();
    tokio::task::yield_now().await;
    let accounts = refreshing.accounts.clone();
    let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap().service_accounts;
    let (_settings, removed) = watch::channel(None);
    let (rechecking, mut rechecks) = mpsc::unbounded_channel();
    let run = tokio::spawn(async move {
        match accounts.run(removed, metrics, || rechecking.send(()).unwrap()).await {}
    });
    assert_eq!(problem(session).await, ServiceAccountError::NotAccepted);
    assert_eq!(rechecks.recv().await, Some(()), "tokens that were accepted are checked again");
    assert_eq!(began.elapsed(), Duration::ZERO);
    run.abort();
}
