//! TLS and tokens: the files of the servers, and what their clients need. Both sides have the same
//! certificate, and the same library with its default protocol versions and cipher suites.

use std::{
    env, fs,
    path::PathBuf,
    process,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use headcount::{
    authentication::token::{Claims, SigningKey, Subject, issue},
    config::{CertificateFiles, TlsSettings},
    model::{DataplaneGrant, KeyAlgorithm, KeyId, Proof},
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde::{Deserialize, Serialize};

use crate::{pki, support::typical};

/// As gRPC requires.
const ALPN: &[u8] = b"h2";
/// Longer than any run.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);

/// Which TLS servers and clients use, and whether clients have tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Security {
    /// The process that has created the files.
    owner: u32,
    tokens: bool,
}

/// The files of this process, which creates them once. They are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Files(PathBuf);

impl Files {
    /// Creates a CA, the certificate of the servers, and the key that signs the tokens.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let files = Self(folder(process::id()));
        fs::create_dir_all(&files.0)?;
        let ca = pki::Authority::new();
        let server = ca.server(&["127.0.0.1"]);
        let key = SigningKey::generate(KeyAlgorithm::Es256)?;
        let public = key.public_key().to_pem().replace('\n', "\n    ");
        let access = format!(
            "tokenKeys:\n- kid: '1'\n  use: dataplane\n  mesh: default\n  publicKey: |\n    {public}\n"
        );
        for (name, text) in [
            (CA, &ca.pem),
            (SERVER_CERT, &server.cert),
            (SERVER_KEY, &server.key),
            (SIGNING_KEY, &*key.to_pem()),
            (ACCESS, &access),
        ] {
            fs::write(files.0.join(name), text)?;
        }
        Ok(files)
    }

    /// TLS without client certificates; callers are anonymous.
    #[expect(clippy::unused_self, reason = "the files must exist")]
    pub(crate) fn tls(&self) -> Security {
        Security { owner: process::id(), tokens: false }
    }

    /// The same, and each dataplane has a token of its own.
    pub(crate) fn tls_and_tokens(&self) -> Security {
        Security { tokens: true, ..self.tls() }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The system removes what remains.
        let _removed = fs::remove_dir_all(&self.0);
    }
}

const CA: &str = "ca.pem";
const SERVER_CERT: &str = "server.pem";
const SERVER_KEY: &str = "server.key.pem";
const SIGNING_KEY: &str = "signing.key.pem";
const ACCESS: &str = "access.yaml";

fn folder(owner: u32) -> PathBuf {
    env::temp_dir().join(format!("headcount-bench-tls-{owner}"))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Security {
    fn file(self, name: &str) -> PathBuf {
        folder(self.owner).join(name)
    }

    pub(crate) fn ca_file(self) -> PathBuf {
        self.file(CA)
    }

    /// The gRPC listener of headcount. Callers without a token may do everything, as on bare tonic.
    pub(crate) fn settings(self) -> TlsSettings {
        let grpc = CertificateFiles {
            flags: ["grpc-tls-cert-file", "grpc-tls-key-file"],
            cert_file: self.file(SERVER_CERT),
            key_file: self.file(SERVER_KEY),
        };
        TlsSettings { grpc: Some(grpc), insecure_allow_anonymous: true, ..TlsSettings::default() }
    }

    /// headcount's access file, if clients have tokens.
    pub(crate) fn access_file(self) -> Option<PathBuf> {
        self.tokens.then(|| self.file(ACCESS))
    }

    /// The baseline's configuration: rustls's defaults, as tonic uses them.
    pub(crate) fn server_config(self) -> anyhow::Result<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(self.file(SERVER_CERT))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(self.file(SERVER_KEY))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }

    /// The configuration of clients. They resume no session, as agents that return after a restart.
    pub(crate) fn client_config(self) -> anyhow::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca_file())?)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// A new token for the dataplane with this number; none if clients have none.
    pub(crate) fn token(self, number: usize) -> anyhow::Result<Option<String>> {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        if !self.tokens {
            return Ok(None);
        }
        let key = if let Some(key) = KEY.get() {
            key
        } else {
            let key = SigningKey::from_pem(&fs::read(self.file(SIGNING_KEY))?)?;
            KEY.get_or_init(|| key)
        };
        let dataplane = typical::dataplane(number)?.key;
        let grant = DataplaneGrant {
            mesh: Some(dataplane.mesh),
            name: Some(dataplane.name),
            ..DataplaneGrant::unrestricted(Proof::Token)
        };
        let claims = Claims::new(Subject::Dataplane(grant), SystemTime::now(), TOKEN_LIFETIME);
        let token = issue(&claims, &KeyId::parse("kid", "1")?, key);
        token.map(Some).map_err(|error| anyhow!("{error}"))
    }
}
