//! Flags of `headcount serve` for TLS, authentication and access.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::{
    cli::{Parsed, Problems, args::switch::Switch},
    config::{CertificateFiles, TlsSettings},
};

/// The flags of the certificate of all listeners, and of its key.
const SHARED_FLAGS: [&str; 2] = ["tls-cert-file", "tls-key-file"];

#[derive(Args, Debug)]
#[command(next_help_heading = "TLS and authentication")]
pub(super) struct TlsArgs {
    /// PEM file of the certificate of all listeners and of its issuers; turns on TLS
    ///
    /// Requires --tls-key-file. The files are reloaded when they change. The flags of a single
    /// listener, such as --grpc-tls-cert-file, override this one.
    #[arg(long, value_name = "FILE")]
    tls_cert_file: Option<PathBuf>,
    /// PEM file of the private key for --tls-cert-file
    #[arg(long, value_name = "FILE")]
    tls_key_file: Option<PathBuf>,
    /// PEM file of the CAs that issue client certificates, for all listeners
    ///
    /// The common name of a certificate is a user, its organizations are groups; a certificate with
    /// a SPIFFE ID belongs to dataplanes. Both need rules in --access-file. Requires a certificate
    /// of the server. The file is reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    tls_client_ca_file: Option<PathBuf>,
    /// PEM file of the certificate of the gRPC address
    #[arg(long, value_name = "FILE")]
    grpc_tls_cert_file: Option<PathBuf>,
    /// PEM file of the private key for --grpc-tls-cert-file
    #[arg(long, value_name = "FILE")]
    grpc_tls_key_file: Option<PathBuf>,
    /// PEM file of the certificate of the HTTP address
    #[arg(long, value_name = "FILE")]
    http_tls_cert_file: Option<PathBuf>,
    /// PEM file of the private key for --http-tls-cert-file
    #[arg(long, value_name = "FILE")]
    http_tls_key_file: Option<PathBuf>,
    /// YAML file of the roles of users, the dataplanes of client certificates, and keys of tokens
    ///
    /// docs/access.md describes it. Without it no user has a role. The file is reloaded when it
    /// changes; calls that it no longer allows end within a second.
    #[arg(long, value_name = "FILE")]
    access_file: Option<PathBuf>,
    /// File to append the audit log to, one JSON object per line; - is standard output
    ///
    /// The server appends a line for each change and each refusal, with its caller; docs/audit.md
    /// describes the lines. Only the user of the server can read the file. After the file was
    /// renamed, the server creates it again.
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Let callers without a credential do everything, on every address
    ///
    /// Every client that reaches the gRPC or the HTTP address can then register as any dataplane,
    /// read everything and copy the data directory. Without it, such callers may do everything only
    /// on loopback addresses without TLS; on others they may only check the server's health. It does
    /// not apply to the Kubernetes API.
    #[arg(long, action = clap::ArgAction::SetTrue)]
    insecure_allow_anonymous: Parsed<Switch>,
    /// Let callers without a credential read /metrics on any address
    ///
    /// The metrics have the names and counts of all workloads. Health checks need no credential in
    /// any case.
    #[arg(long, action = clap::ArgAction::SetTrue)]
    insecure_anonymous_metrics: Parsed<Switch>,
}

/// The checked flags.
pub(super) struct TlsFlags {
    pub(super) tls: TlsSettings,
    pub(super) access_file: Option<PathBuf>,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) anonymous_metrics: bool,
}

impl TlsArgs {
    /// Whether clients can authenticate themselves.
    pub(super) fn authenticates(&self) -> bool {
        self.tls_client_ca_file.is_some() || self.access_file.is_some()
    }

    /// The certificate of all listeners, for the Kubernetes API.
    pub(super) fn shared_files(&self) -> Option<CertificateFiles> {
        let (cert_file, key_file) = self.tls_cert_file.clone().zip(self.tls_key_file.clone())?;
        Some(CertificateFiles { flags: SHARED_FLAGS, cert_file, key_file })
    }

    /// Returns the settings; adds invalid flags to `problems`. `kube_tls`: the Kubernetes API has TLS.
    pub(super) fn check(
        self,
        grpc: SocketAddr,
        http: SocketAddr,
        kube_tls: bool,
        problems: &mut Problems,
    ) -> TlsFlags {
        let authenticates = self.authenticates();
        let shared = files(SHARED_FLAGS, self.tls_cert_file, self.tls_key_file, problems);
        let grpc_files = files(
            ["grpc-tls-cert-file", "grpc-tls-key-file"],
            self.grpc_tls_cert_file,
            self.grpc_tls_key_file,
            problems,
        );
        let http_files = files(
            ["http-tls-cert-file", "http-tls-key-file"],
            self.http_tls_cert_file,
            self.http_tls_key_file,
            problems,
        );
        let anonymous = problems.take("insecure-allow-anonymous", self.insecure_allow_anonymous);
        let settings = TlsSettings {
            grpc: grpc_files.or_else(|| shared.clone()),
            http: http_files.or(shared),
            client_ca_file: self.tls_client_ca_file,
            insecure_allow_anonymous: anonymous.unwrap_or_default().0,
            ..TlsSettings::default()
        };
        let has_tls = settings.grpc.is_some() || settings.http.is_some() || kube_tls;
        if settings.client_ca_file.is_some() && !has_tls {
            let problem = "client certificates require TLS: set --tls-cert-file and --tls-key-file too";
            problems.note("tls-client-ca-file", problem);
        }
        let metrics = problems.take("insecure-anonymous-metrics", self.insecure_anonymous_metrics);
        let anonymous_metrics = metrics.unwrap_or_default().0;
        if !settings.insecure_allow_anonymous {
            check_exposure("grpc-addr", grpc, settings.grpc.is_some(), authenticates, problems);
        }
        // Then no request to the HTTP address needs a credential.
        if !settings.insecure_allow_anonymous && !anonymous_metrics {
            check_exposure("http-addr", http, settings.http.is_some(), authenticates, problems);
        }
        TlsFlags {
            tls: settings,
            access_file: self.access_file,
            audit_log: self.audit_log,
            anonymous_metrics,
        }
    }
}

/// A certificate and its key, which must be given together.
pub(super) fn files(
    flags: [&'static str; 2],
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    problems: &mut Problems,
) -> Option<CertificateFiles> {
    let [cert, key] = flags;
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => return Some(CertificateFiles { flags, cert_file, key_file }),
        (Some(_), None) => problems.note(cert, &format!("requires a private key: set --{key} too")),
        (None, Some(_)) => problems.note(key, &format!("requires a certificate: set --{cert} too")),
        (None, None) => {}
    }
    None
}

/// Rejects an address that other machines can reach if callers are not authenticated.
fn check_exposure(flag: &str, addr: SocketAddr, tls: bool, authenticates: bool, problems: &mut Problems) {
    let lacks = match (tls, authenticates) {
        _ if addr.ip().is_loopback() => return,
        (true, true) => return,
        (true, false) => "it has no client authentication",
        (false, true) => "it has no TLS",
        (false, false) => "it has neither TLS nor client authentication",
    };
    let port = addr.port();
    let problem = format!(
        "\"{addr}\": other machines could reach it, and {lacks}: set --tls-cert-file, --tls-key-file and one of \
         --tls-client-ca-file and --access-file; or listen on 127.0.0.1:{port}; or, if only trusted clients can reach \
         the address, set --insecure-allow-anonymous"
    );
    problems.note(flag, &problem);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Failure;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        tls: TlsArgs,
    }

    const LOCAL: &str = "127.0.0.1:7101";
    const PAIR: &str = "--tls-cert-file c --tls-key-file k";

    fn check(grpc: &str, args: &str) -> Result<TlsSettings, String> {
        let args = std::iter::once("headcount").chain(args.split_whitespace());
        let mut problems = Problems::default();
        let (grpc, http) = (grpc.parse().unwrap(), LOCAL.parse().unwrap());
        let flags = Command::parse_from(args).tls.check(grpc, http, false, &mut problems);
        problems.finish().map(|()| flags.tls).map_err(|failure: Failure| failure.to_string())
    }

    #[test]
    fn addresses_other_than_loopback_require_tls_and_authentication() {
        for public in ["0.0.0.0:7100", "[::]:7100", "192.168.1.1:7100", "[::ffff:127.0.0.1]:7100"] {
            for (args, lacks) in [
                ("", "it has neither TLS nor client authentication"),
                (PAIR, "it has no client authentication"),
                ("--access-file a", "it has no TLS"),
            ] {
                let error = check(public, args).unwrap_err();
                for part in [
                    &format!("--grpc-addr: \"{public}\""),
                    lacks,
                    "--tls-client-ca-file",
                    "127.0.0.1:7100",
                    "--insecure-allow-anonymous",
                ] {
                    assert!(error.contains(part), "{part:?} is not in {error}");
                }
            }
            for args in ["--tls-client-ca-file ca", "--access-file a"] {
                assert!(check(public, &format!("{PAIR} {args}")).is_ok(), "{args}");
            }
            assert!(check(public, "--insecure-allow-anonymous").is_ok());
        }
        for private in [LOCAL, "127.9.9.9:0", "[::1]:7100"] {
            assert!(check(private, "").is_ok(), "{private}");
        }
    }

    #[test]
    fn a_flag_that_requires_another_names_it() {
        for (args, problem) in [
            ("--tls-cert-file c", "--tls-cert-file: requires a private key: set --tls-key-file"),
            ("--tls-key-file k", "--tls-key-file: requires a certificate: set --tls-cert-file"),
            (
                "--grpc-tls-cert-file c",
                "--grpc-tls-cert-file: requires a private key: set --grpc-tls-key-file",
            ),
            (
                "--http-tls-key-file k",
                "--http-tls-key-file: requires a certificate: set --http-tls-cert-file",
            ),
            ("--tls-client-ca-file ca", "--tls-client-ca-file: client certificates require TLS"),
        ] {
            let report = check(LOCAL, args).unwrap_err();
            assert!(report.contains(problem), "{problem:?} is not in {report}");
        }
    }

    #[test]
    fn client_certificates_require_tls_of_any_listener() {
        for flags in [
            PAIR,
            "--grpc-tls-cert-file g --grpc-tls-key-file h",
            "--http-tls-cert-file g --http-tls-key-file h",
        ] {
            assert!(check(LOCAL, &format!("--tls-client-ca-file ca {flags}")).is_ok(), "{flags}");
        }
        let args = Command::parse_from(["headcount", "--tls-client-ca-file", "ca"]).tls;
        let (local, mut problems) = (LOCAL.parse().unwrap(), Problems::default());
        args.check(local, local, true, &mut problems);
        assert!(problems.finish().is_ok(), "the Kubernetes API has TLS");
    }

    #[test]
    fn the_files_of_one_listener_override_those_of_all() {
        let settings = check(LOCAL, &format!("{PAIR} --grpc-tls-cert-file g --grpc-tls-key-file h")).unwrap();
        assert_eq!(settings.grpc.unwrap().cert_file, PathBuf::from("g"));
        assert_eq!(settings.http.unwrap().cert_file, PathBuf::from("c"));
    }
}
