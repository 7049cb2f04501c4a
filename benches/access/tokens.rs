//! Verification of tokens.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headcount::{
    authentication::token::{
        Claims, Revocations, SigningKey, Subject, VerificationKey, VerificationKeys, Verifier, issue,
    },
    model::{DataplaneGrant, DataplaneName, KeyAlgorithm, KeyId, KeyUse, MeshName, Proof, WorkloadName},
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
    },
};

use crate::support::{
    rounds::{Figure, Measure, compare},
    target::Target,
};

pub(crate) const SIDES: [&str; 2] = ["whole tokens", "their signatures alone, by ring"];

const RSA: &[u8] = include_bytes!("../../tests/tokens/rs256.pkcs8.key.pem");

#[derive(Clone, Copy)]
enum Side {
    Tokens,
    Signatures,
}

struct Sample {
    name: &'static str,
    verifier: Verifier,
    token: String,
    signature: Vec<u8>,
    public_key: UnparsedPublicKey<Vec<u8>>,
}

/// Measures each algorithm.
pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (rounds, time) = if quick { (3, 20) } else { (15, 300) };
    let algorithms = [
        ("RS256 (2048 bits), one thread", SigningKey::from_pem(RSA)?),
        ("ES256, one thread", SigningKey::generate(KeyAlgorithm::Es256)?),
        ("EdDSA, one thread", SigningKey::generate(KeyAlgorithm::EdDsa)?),
    ];
    let subjects = algorithms.into_iter().map(|(name, key)| Sample::new(name, &key));
    let subjects = subjects.collect::<anyhow::Result<Vec<_>>>()?;
    compare("tokens", rounds, [Side::Tokens, Side::Signatures], |side| {
        subjects
            .iter()
            .map(|subject| {
                let rate = subject.rate(side, Duration::from_millis(time))?;
                Ok(Measure::new(subject.name, "/s", rate).target(Target::RatioAtLeast(0.8)))
            })
            .collect()
    })
}

impl Sample {
    /// A token with a name, a workload and a tag.
    fn new(name: &'static str, key: &SigningKey) -> anyhow::Result<Self> {
        let (mesh, id) = (MeshName::parse("mesh", "default")?, KeyId::parse("kid", "1")?);
        let grant = DataplaneGrant {
            mesh: Some(mesh.clone()),
            name: Some(DataplaneName::parse("name", "web-7d4b9c5f6-x2x8k")?),
            workload: Some(WorkloadName::parse_universal("workload", "web")?),
            tags: [("team".to_owned(), ["a".to_owned(), "b".to_owned()].into())].into(),
            ..DataplaneGrant::unrestricted(Proof::Token)
        };
        let claims = Claims::new(Subject::Dataplane(grant), SystemTime::now(), Duration::from_hours(1));
        let token = issue(&claims, &id, key)?;
        let mut keys = VerificationKeys::default();
        ensure!(keys.add(VerificationKey { id, usage: KeyUse::Mesh(mesh), key: key.public_key() }));
        let (_, signature) = token.rsplit_once('.').context("a signature")?;
        let signature = URL_SAFE_NO_PAD.decode(signature)?;
        let verifier = Verifier::new(keys, Revocations::default());
        Ok(Self { name, verifier, token, signature, public_key: public_key(key)? })
    }

    /// Verifications in a second.
    fn rate(&self, side: Side, time: Duration) -> anyhow::Result<f64> {
        const BATCH: u32 = 100;
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < time {
            for _ in 0..BATCH {
                self.verify(side)?;
            }
            done += BATCH;
        }
        Ok(f64::from(done) / began.elapsed().as_secs_f64())
    }

    fn verify(&self, side: Side) -> anyhow::Result<()> {
        match side {
            Side::Tokens => {
                self.verifier.verify(&self.token, SystemTime::now())?;
            }
            Side::Signatures => {
                let signed = self.token.rsplit_once('.').context("a signature")?.0;
                let verified = self.public_key.verify(signed.as_bytes(), &self.signature);
                verified.ok().context("a wrong signature")?;
            }
        }
        Ok(())
    }
}

/// The public key as ring takes it.
fn public_key(key: &SigningKey) -> anyhow::Result<UnparsedPublicKey<Vec<u8>>> {
    let der = key.private_key().as_der();
    let rejected = |error| anyhow!("{error}");
    let (algorithm, bytes): (&'static dyn VerificationAlgorithm, Vec<u8>) = match key.algorithm() {
        KeyAlgorithm::Rs256 => {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(rejected)?;
            (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref().into())
        }
        KeyAlgorithm::Es256 => {
            let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = EcdsaKeyPair::from_pkcs8(signing, der, &SystemRandom::new()).map_err(rejected)?;
            (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref().into())
        }
        KeyAlgorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(rejected)?;
            (&ED25519, pair.public_key().as_ref().into())
        }
    };
    Ok(UnparsedPublicKey::new(algorithm, bytes))
}
