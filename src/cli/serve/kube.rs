//! Flags of `headcount serve` for the Kubernetes API and its admission webhooks.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::Args;

use crate::{
    cli::{
        Parsed, Problems,
        args::{kube_api_addr::KubeApiAddr, switch::Switch},
        serve::{limits::MAX_CONNECTIONS, tls},
    },
    config::{AdmissionSettings, CertificateFiles, FrontProxySettings, KubeSettings, KubeTls},
    model::{ApiGroup, LabelKey},
};

const ONE_MESH: &str = "disallow-multiple-meshes-per-namespace";

#[derive(Args, Debug)]
#[command(next_help_heading = "Kubernetes API")]
pub(super) struct KubeArgs {
    /// IP address and port of the Kubernetes API, or off; port 0 selects a free port
    ///
    /// An address other than loopback requires TLS, and --kube-client-ca-file or another way to
    /// authenticate clients.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7102")]
    kube_api_addr: Parsed<KubeApiAddr>,
    /// API group of the resources
    ///
    /// In a cluster that has Kuma's own resources choose another group, because one server
    /// serves all resources of a group.
    #[arg(long, value_name = "GROUP", default_value = "kuma.io")]
    kube_api_group: Parsed<ApiGroup>,
    /// PEM file of the Kubernetes API's certificate and its issuers; turns on TLS
    ///
    /// Requires --kube-tls-key-file. The file is reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    kube_tls_cert_file: Option<PathBuf>,
    /// PEM file of the private key for --kube-tls-cert-file
    ///
    /// The file is reloaded when it changes.
    #[arg(long, value_name = "FILE")]
    kube_tls_key_file: Option<PathBuf>,
    /// PEM file of the CA that issues kube-apiserver's client certificate; others are rejected
    ///
    /// This is the requestheader-client-ca-file of kube-apiserver. Health checks and webhooks
    /// are served without a certificate. Requires --kube-tls-cert-file. The file is reloaded
    /// when it changes.
    #[arg(long, value_name = "FILE")]
    kube_client_ca_file: Option<PathBuf>,
    /// Accepted common names of kube-apiserver's client certificate, separated by commas
    ///
    /// By default any name is accepted. These are the requestheader-allowed-names of
    /// kube-apiserver. Requires --kube-client-ca-file.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    kube_allowed_names: Vec<String>,
    /// Labels of a Pod that name its workload, separated by commas; the first with a value counts
    ///
    /// A Pod without them belongs to the workload of its service account's name. The key in
    /// the configuration file is runtime.kubernetes.workloadLabels, as in Kuma.
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    workload_labels: Vec<Parsed<LabelKey>>,
    /// Reject Pods in a namespace that has dataplanes of another mesh
    ///
    /// The key in the configuration file is
    /// runtime.kubernetes.disallowMultipleMeshesPerNamespace, as in Kuma.
    #[arg(long, action = clap::ArgAction::SetTrue)]
    disallow_multiple_meshes_per_namespace: Parsed<Switch>,
    /// Open connections to the Kubernetes API
    ///
    /// At the limit, a new connection replaces the one that has been without a request for the
    /// longest time; if there is none, the new one is closed at once.
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    max_kube_connections: Parsed<NonZeroUsize>,
}

impl KubeArgs {
    /// Returns the settings; adds invalid flags to `problems`.
    ///
    /// `shared` are the certificate and the key of all listeners. `authenticates`: clients can
    /// authenticate themselves.
    pub(super) fn check(
        self,
        shared: Option<CertificateFiles>,
        authenticates: bool,
        problems: &mut Problems,
    ) -> KubeSettings {
        let addr = problems.take("kube-api-addr", self.kube_api_addr).unwrap_or_default().0;
        let front_proxy = front_proxy(self.kube_client_ca_file, self.kube_allowed_names, problems);
        let (cert_file, key_file) = (self.kube_tls_cert_file, self.kube_tls_key_file);
        let incomplete = cert_file.is_some() != key_file.is_some();
        let own = tls::files(["kube-tls-cert-file", "kube-tls-key-file"], cert_file, key_file, problems);
        let files = own.or(shared);
        if files.is_none() && !incomplete && front_proxy.is_some() {
            let problem =
                "client certificates require TLS: set --kube-tls-cert-file and --kube-tls-key-file too";
            problems.note("kube-client-ca-file", problem);
        }
        let reload_interval = KubeTls::RELOAD_INTERVAL;
        let tls = files.map(|files| KubeTls { files, front_proxy, reload_interval });
        if let Some(addr) = addr {
            check_exposure(addr, tls.as_ref(), authenticates, problems);
        }
        let max_connections = super::count(problems, "max-kube-connections", self.max_kube_connections);
        if max_connections > MAX_CONNECTIONS {
            problems.note("max-kube-connections", &format!("must be {MAX_CONNECTIONS} or less"));
        }
        let labels = self.workload_labels.into_iter();
        let one_mesh = problems.take(ONE_MESH, self.disallow_multiple_meshes_per_namespace);
        KubeSettings {
            addr,
            tls,
            group: problems.take("kube-api-group", self.kube_api_group).unwrap_or_default(),
            max_connections,
            max_unauthenticated_connection_rate: None,
            admission: AdmissionSettings {
                workload_labels: labels.filter_map(|key| problems.take("workload-labels", key)).collect(),
                one_mesh_per_namespace: one_mesh.unwrap_or_default().0,
            },
        }
    }
}

fn front_proxy(
    ca_file: Option<PathBuf>,
    allowed_names: Vec<String>,
    problems: &mut Problems,
) -> Option<FrontProxySettings> {
    if allowed_names.iter().any(String::is_empty) {
        problems.note("kube-allowed-names", "\"\" is not a name: remove the flag to accept any name");
    }
    if ca_file.is_none() && !allowed_names.is_empty() {
        problems.note("kube-allowed-names", "requires --kube-client-ca-file: set both");
    }
    ca_file.map(|ca_file| FrontProxySettings { ca_file, allowed_names })
}

/// Rejects an address that other machines can reach if clients are not authenticated.
fn check_exposure(addr: SocketAddr, tls: Option<&KubeTls>, authenticates: bool, problems: &mut Problems) {
    let lacks = match tls {
        _ if addr.ip().is_loopback() => return,
        Some(KubeTls { front_proxy: Some(_), .. }) => return,
        Some(_) if authenticates => return,
        Some(_) => "it has no client authentication",
        None => "it has neither TLS nor client authentication",
    };
    let port = addr.port();
    let problem = format!(
        "\"{addr}\": other machines could reach it, and {lacks}: in a cluster, serve only kube-apiserver \
         (--kube-tls-cert-file, --kube-tls-key-file, --kube-client-ca-file); elsewhere, use TLS with one of \
         --tls-client-ca-file and --access-file, or listen on 127.0.0.1:{port} and connect through `ssh -L {port}:127.0.0.1:{port}` or `kubectl port-forward`"
    );
    problems.note("kube-api-addr", &problem);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Failure;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        kube: KubeArgs,
    }

    fn check(args: &str) -> Result<KubeSettings, String> {
        let args = std::iter::once("headcount").chain(args.split_whitespace());
        let mut problems = Problems::default();
        let settings = Command::parse_from(args).kube.check(None, false, &mut problems);
        problems.finish().map(|()| settings).map_err(|failure: Failure| failure.to_string())
    }

    const TLS: &str = "--kube-tls-cert-file c --kube-tls-key-file k";

    #[test]
    fn messages_name_the_flags_of_the_certificate_in_use() {
        let flags = |args: &[&str]| {
            let shared = CertificateFiles {
                flags: ["tls-cert-file", "tls-key-file"],
                cert_file: "shared".into(),
                key_file: "key".into(),
            };
            let command = Command::parse_from([&["headcount"], args].concat());
            command.kube.check(Some(shared), false, &mut Problems::default()).tls.unwrap().files.flags
        };
        assert_eq!(flags(&[]), ["tls-cert-file", "tls-key-file"]);
        let own = flags(&["--kube-tls-cert-file", "c", "--kube-tls-key-file", "k"]);
        assert_eq!(own, ["kube-tls-cert-file", "kube-tls-key-file"]);
    }

    #[test]
    fn addresses_other_than_loopback_require_the_front_proxy() {
        for private in ["127.0.0.1:7102", "127.9.9.9:0", "[::1]:7102", "off"] {
            assert!(check(&format!("--kube-api-addr {private}")).is_ok(), "{private}");
        }
        for public in ["0.0.0.0:7102", "[::]:7102", "192.168.1.1:7102", "[::ffff:127.0.0.1]:7102"] {
            let plain = check(&format!("--kube-api-addr {public}")).unwrap_err();
            for part in [
                "neither TLS nor client authentication",
                "--kube-client-ca-file",
                "ssh -L 7102:127.0.0.1:7102",
            ] {
                assert!(plain.contains(part), "{part:?} is not in {plain}");
            }
            let encrypted = check(&format!("--kube-api-addr {public} {TLS}")).unwrap_err();
            assert!(encrypted.contains("it has no client authentication"), "{encrypted}");
            let settings = check(&format!(
                "--kube-api-addr {public} {TLS} --kube-client-ca-file ca --kube-allowed-names a,b"
            ));
            let proxy = settings.unwrap().tls.unwrap().front_proxy.unwrap();
            assert_eq!(proxy.allowed_names, ["a", "b"]);
        }
    }

    #[test]
    fn a_flag_that_requires_another_names_it() {
        for (args, problem) in [
            (
                "--kube-tls-cert-file c",
                "--kube-tls-cert-file: requires a private key: set --kube-tls-key-file",
            ),
            (
                "--kube-tls-key-file k",
                "--kube-tls-key-file: requires a certificate: set --kube-tls-cert-file",
            ),
            ("--kube-client-ca-file ca", "--kube-client-ca-file: client certificates require TLS"),
            ("--kube-allowed-names a", "--kube-allowed-names: requires --kube-client-ca-file"),
            ("--kube-allowed-names a,", "--kube-allowed-names: \"\" is not a name"),
            ("--workload-labels app,-x", "--workload-labels: \"-x\""),
        ] {
            let report = check(args).unwrap_err();
            assert!(report.contains(problem), "{problem:?} is not in {report}");
        }
    }

    #[test]
    fn workload_labels_keep_their_order() {
        let admission = check("--workload-labels b/app,app --workload-labels a").unwrap().admission;
        assert_eq!(
            admission.workload_labels.iter().map(LabelKey::as_str).collect::<Vec<_>>(),
            ["b/app", "app", "a"]
        );
        assert!(!admission.one_mesh_per_namespace);
        assert!(check("--disallow-multiple-meshes-per-namespace").unwrap().admission.one_mesh_per_namespace);
    }
}
