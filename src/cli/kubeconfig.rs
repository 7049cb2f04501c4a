//! `headcount kubeconfig`: prints a kubeconfig for the Kubernetes API of a server.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::server_url::KubeUrl,
    output::{Format, document},
};
use crate::{
    model::{DEFAULT_NAMESPACE, Namespace},
    net::tls::PemFile,
};

/// Name of the cluster, the user and the context.
const NAME: &str = "headcount";

/// Print a kubeconfig for the Kubernetes API of a server
///
/// The command does not connect to the server. Set --kube-server to the address that the
/// server listens on (its --kube-api-addr).
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount kubeconfig > headcount.kubeconfig
  KUBECONFIG=headcount.kubeconfig kubectl get workloads
  KUBECONFIG=~/.kube/config:headcount.kubeconfig kubectl --context headcount get wl -A -w
  headcount kubeconfig --kube-server https://localhost:7102 --certificate-authority ca.crt")]
pub(super) struct KubeconfigArgs {
    /// Address of the Kubernetes API: an http or https URL, HOST:PORT or HOST
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7102")]
    kube_server: Parsed<KubeUrl>,
    /// PEM file of the CA that issued the certificate of an https server
    ///
    /// Without it kubectl uses the CAs that this machine trusts.
    #[arg(long, value_name = "FILE")]
    certificate_authority: Option<PathBuf>,
    /// Default namespace of kubectl
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    clusters: [Named<Cluster>; 1],
    users: [Named<User>; 1],
    contexts: [Named<Context>; 1],
    current_context: &'static str,
}

#[derive(Serialize)]
struct Named<T> {
    name: &'static str,
    #[serde(flatten)]
    of: T,
}

#[derive(Serialize)]
struct Cluster {
    cluster: Server,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Server {
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority: Option<PathBuf>,
}

#[derive(Serialize)]
struct User {
    user: Anonymous,
}

/// No credentials. Over TLS kubectl prompts for a user name and password unless it has a token, so
/// it gets a placeholder.
#[derive(Serialize)]
struct Anonymous {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'static str>,
}

#[derive(Serialize)]
struct Context {
    context: ContextSpec,
}

#[derive(Serialize)]
struct ContextSpec {
    cluster: &'static str,
    user: &'static str,
    namespace: String,
}

impl KubeconfigArgs {
    pub(super) fn run(self, mut problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let server = problems.take("kube-server", self.kube_server);
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let (Some(server), Some(namespace)) = (server, namespace) else {
            return Err(problems.into());
        };
        let encrypted = server.is_encrypted();
        let certificate_authority = self.certificate_authority.and_then(|file| {
            if !encrypted {
                problems
                    .note("certificate-authority", "is only valid for an https:// --kube-server: remove it");
            }
            let path = PemFile::new("certificate-authority", file).path_to_certificates();
            path.map_err(|problem| problems.note_text(format!("{problem:#}"))).ok()
        });
        problems.finish()?;
        let server = Server { server: server.to_string(), certificate_authority };
        let user = Anonymous { token: encrypted.then_some("none") };
        let context = ContextSpec { cluster: NAME, user: NAME, namespace: namespace.to_string() };
        let kubeconfig = Kubeconfig {
            api_version: "v1",
            kind: "Config",
            clusters: [Named { name: NAME, of: Cluster { cluster: server } }],
            users: [Named { name: NAME, of: User { user } }],
            contexts: [Named { name: NAME, of: Context { context } }],
            current_context: NAME,
        };
        terminal.print(&document(Format::Yaml, &kubeconfig))?;
        Ok(Outcome::Success)
    }
}
