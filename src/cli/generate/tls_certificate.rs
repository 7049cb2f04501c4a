//! `headcount generate tls-certificate`.

use std::{
    net::IpAddr,
    path::PathBuf,
    str::FromStr,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    string::Ia5String,
};
use rustls::pki_types::DnsName;
use zeroize::Zeroizing;

use super::{key_files::write_new, lifetime::Lifetime};
use crate::cli::{
    Failure, Outcome, Parsed, Problems,
    new_file::{Existing, PRIVATE, PUBLIC, check_absent},
};

/// Accepted difference between the clocks of this machine and of clients.
const CLOCK_DIFFERENCE: Duration = Duration::from_mins(5);

/// Generate a self-signed TLS certificate of a server
///
/// Writes the certificate and its private key (ECDSA P-256) to two files; only their owner can
/// read the key. Clients trust the server if their --ca-file is the certificate. Files are never
/// overwritten.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount generate tls-certificate --hostname localhost --hostname 127.0.0.1
  headcount serve --tls-cert-file tls.crt --tls-key-file tls.key --insecure-allow-anonymous
  headcount get workloads --server https://localhost:7100 --ca-file tls.crt")]
pub(super) struct TlsCertificateArgs {
    /// DNS name or IP address by which clients reach the server; can be repeated
    #[arg(long, value_name = "NAME", required = true, hide_env = true)]
    hostname: Vec<Parsed<Hostname>>,
    /// File to write the certificate to
    #[arg(long, value_name = "FILE", default_value = "tls.crt", hide_env = true)]
    cert_file: PathBuf,
    /// File to write the private key to
    #[arg(long, value_name = "FILE", default_value = "tls.key", hide_env = true)]
    key_file: PathBuf,
    /// How long the certificate is valid, such as 720h or 30days; at most 10 years
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "8760h",
        allow_hyphen_values = true,
        hide_env = true
    )]
    valid_for: Parsed<Lifetime>,
}

/// A name of a server, as a certificate has it.
#[derive(Debug, Clone)]
struct Hostname(SanType);

impl FromStr for Hostname {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const INVALID: &str = "must be a DNS name, such as headcount.example.com or *.example.com, or an IP \
                               address; without a scheme, a port or brackets";
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(SanType::IpAddress(address)));
        }
        // A wildcard is no name of a server, and no client accepts a name that ends with a dot.
        let name = text.strip_prefix("*.").unwrap_or(text);
        if DnsName::try_from(name).is_err() || name.ends_with('.') {
            return Err(INVALID.to_owned());
        }
        Ia5String::try_from(text).map(|name| Self(SanType::DnsName(name))).map_err(|_| INVALID.to_owned())
    }
}

impl TlsCertificateArgs {
    /// Generates the certificate, and writes both files.
    pub(super) fn run(self, mut problems: Problems) -> Result<Outcome, Failure> {
        let names = self.hostname.into_iter().filter_map(|name| problems.take("hostname", name));
        let names = names.map(|Hostname(name)| name).collect();
        let Some(Lifetime(valid_for)) = problems.take("valid-for", self.valid_for) else {
            return Err(problems.into());
        };
        problems.finish()?;
        check_absent("cert-file", &self.cert_file, Existing::Stays)?;
        check_absent("key-file", &self.key_file, Existing::Stays)?;
        let (certificate, key) = self_signed(names, SystemTime::now(), valid_for)?;
        write_new("key-file", &self.key_file, &key, PRIVATE)?;
        write_new("cert-file", &self.cert_file, &certificate, PUBLIC)?;
        Ok(Outcome::Success)
    }
}

/// A self-signed certificate and its private key, in PEM.
///
/// The certificate is no CA's, so that its key can't issue certificates for other servers.
fn self_signed(
    names: Vec<SanType>,
    now: SystemTime,
    valid_for: Duration,
) -> anyhow::Result<(String, Zeroizing<String>)> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "headcount");
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = (now - CLOCK_DIFFERENCE).into();
    params.not_after = (now + valid_for).into();
    let key = KeyPair::generate().context("can't generate a key")?;
    let certificate = params.self_signed(&key).context("can't sign the certificate")?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}
