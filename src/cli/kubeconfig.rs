//! `headcount kubeconfig`: prints a kubeconfig for the Kubernetes API of a server.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{
        security::SecurityArgs,
        server_url::{KubeUrl, ServerUrl},
    },
    output::{Format, document},
};
use crate::model::{DEFAULT_NAMESPACE, Namespace};

/// Name of the cluster, the user and the context.
const NAME: &str = "headcount";

/// Print a kubeconfig for the Kubernetes API of a server
///
/// The command does not connect to the server. Set --kube-server to the address that the
/// server listens on (its --kube-api-addr). The output has the paths of the given files, not
/// their content; kubectl reads the token file again for each command. Without --ca-file,
/// kubectl uses the CAs that this machine trusts.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount kubeconfig > headcount.kubeconfig
  KUBECONFIG=headcount.kubeconfig kubectl get workloads
  KUBECONFIG=~/.kube/config:headcount.kubeconfig kubectl --context headcount get wl -A -w
  headcount kubeconfig --kube-server https://localhost:7102 --ca-file ca.crt --token-file me.jwt")]
pub(super) struct KubeconfigArgs {
    /// Address of the Kubernetes API: an http or https URL, HOST:PORT or HOST
    ///
    /// The default is port 7102 of the context's server, or else of 127.0.0.1.
    #[arg(long, value_name = "URL")]
    kube_server: Option<Parsed<KubeUrl>>,
    /// Default namespace of kubectl
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    security: SecurityArgs,
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
    #[serde(rename = "server")]
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_server_name: Option<String>,
}

#[derive(Serialize)]
struct User {
    user: Credentials,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Credentials {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
    #[serde(rename = "tokenFile", skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    /// Over TLS kubectl prompts for a user name and password unless it has credentials, so without any it
    /// gets a placeholder.
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
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let access = check_access(self.kube_server, self.security, &mut problems);
        let (Some((server, credentials)), Some(namespace)) = (access, namespace) else {
            return Err(problems.into());
        };
        problems.finish()?;
        let context = ContextSpec { cluster: NAME, user: NAME, namespace: namespace.to_string() };
        let kubeconfig = Kubeconfig {
            api_version: "v1",
            kind: "Config",
            clusters: [Named { name: NAME, of: Cluster { cluster: server } }],
            users: [Named { name: NAME, of: User { user: credentials } }],
            contexts: [Named { name: NAME, of: Context { context } }],
            current_context: NAME,
        };
        terminal.print(&document(Format::Yaml, &kubeconfig))?;
        Ok(Outcome::Success)
    }
}

/// The server and the user's credentials.
fn check_access(
    url: Option<Parsed<KubeUrl>>,
    security: SecurityArgs,
    problems: &mut Problems,
) -> Option<(Server, Credentials)> {
    let mut security = security.resolve(url.is_some(), problems)?;
    let url = match (url, security.server.take()) {
        (Some(url), _) => problems.take("kube-server", url)?,
        (None, Some(server)) => problems.take("server", server).as_ref().and_then(ServerUrl::to_kube)?,
        (None, None) => KubeUrl::default(),
    };
    let [ca, token, cert, key] = security.check_files(&url, problems)?;
    let token_placeholder = (url.is_encrypted() && token.is_none() && cert.is_none()).then_some("none");
    Some((
        Server { url: url.to_string(), certificate_authority: ca, tls_server_name: security.tls_server_name },
        Credentials {
            client_certificate: cert,
            client_key: key,
            token_file: token,
            token: token_placeholder,
        },
    ))
}
