//! etcd and kube-apiserver, and kubectl for several users.

use std::{net::SocketAddr, path::PathBuf};

use tokio::process::Command;

use crate::{
    pki::{Authority, Pair},
    support::{Ended, Program, Site, peer, retry, script},
};

/// A control plane.
pub(crate) struct Cluster {
    kubectl: PathBuf,
    pub(crate) site: Site,
    /// Issues the certificates of users.
    users: Authority,
    /// The authority of the certificate that kube-apiserver presents to aggregated servers, in PEM.
    pub(crate) front_proxy_ca: String,
    pub(crate) address: SocketAddr,
    /// etcd and kube-apiserver, which are killed when this is dropped.
    _programs: [Program; 2],
}

/// The common name of the certificate that kube-apiserver presents to aggregated servers.
pub(crate) const FRONT_PROXY: &str = "front-proxy-client";

impl Cluster {
    /// Starts a control plane; none if a program is missing.
    pub(crate) async fn start() -> Option<Self> {
        let (etcd, kube_apiserver, kubectl) = (peer("etcd")?, peer("kube-apiserver")?, peer("kubectl")?);
        let site = Site::new();
        let (users, front_proxy) = (Authority::new(), Authority::new());
        let (etcd, etcd_url) = start_etcd(etcd, &site);
        let address = site.free_port();
        let kube_apiserver =
            start_kube_apiserver(kube_apiserver, &site, address, &etcd_url, &users, &front_proxy);
        let front_proxy_ca = front_proxy.pem;
        let cluster =
            Self { kubectl, site, users, front_proxy_ca, address, _programs: [etcd, kube_apiserver] };
        cluster.create_user("admin", "system:masters");
        retry("kube-apiserver is ready", async || {
            let ready = cluster.kubectl("admin", "get --raw /readyz").end().await;
            (ready.out == "ok").then_some(())
        })
        .await;
        Some(cluster)
    }

    /// Writes a kubeconfig for a user in a group.
    pub(crate) fn create_user(&self, user: &str, group: &str) {
        let Pair { cert, key } = self.users.client_with(user, |params| {
            params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        });
        let cert = self.site.file(&format!("{user}.crt"), &cert);
        let key = self.site.file(&format!("{user}.key"), &key);
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'https://{}', insecure-skip-tls-verify: true}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{client-certificate: {}, client-key: {}}}}}]\n",
            self.address,
            cert.display(),
            key.display()
        );
        self.site.file(&kubeconfig_of(user), &kubeconfig);
    }

    /// The certificate of kube-apiserver, which is its own CA.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.site.path("kube-apiserver/apiserver.crt")
    }

    /// Starts kubectl for a user, with arguments separated by whitespace.
    pub(crate) fn kubectl(&self, user: &str, arguments: &str) -> Program {
        Program::start(self.environment(Command::new(&self.kubectl).args(arguments.split_whitespace()), user))
    }

    /// Runs kubectl as the administrator; it must succeed. Returns its output.
    pub(crate) async fn admin(&self, arguments: &str) -> String {
        self.kubectl("admin", arguments).end().await.expect_exit(0).out
    }

    /// Runs kubectl as the administrator, with `-f` and a file of this text after `arguments`.
    pub(crate) async fn with_file(&self, arguments: &str, text: &str) -> Ended {
        let file = self.site.file("object.yaml", text);
        self.kubectl("admin", &format!("{arguments} -f {}", file.display())).end().await
    }

    /// Runs a script of the manifests as the administrator.
    pub(crate) async fn script(&self, path: PathBuf, arguments: &[&str]) -> Ended {
        let mut script = script(&path, &[self.kubectl.parent().unwrap()]);
        Program::start(self.environment(script.args(arguments), "admin")).end().await
    }

    fn environment<'a>(&self, command: &'a mut Command, user: &str) -> &'a mut Command {
        // kubectl caches discovery documents in the home directory.
        command.env("HOME", self.site.path("")).env("KUBECONFIG", self.site.path(&kubeconfig_of(user)))
    }
}

fn kubeconfig_of(user: &str) -> String {
    format!("{user}.kubeconfig")
}

fn start_etcd(program: PathBuf, site: &Site) -> (Program, String) {
    let [clients, peers] = [site.free_port(), site.free_port()].map(|address| format!("http://{address}"));
    let mut etcd = Command::new(program);
    etcd.arg("--data-dir").arg(site.path("etcd"));
    etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    etcd.args(["--initial-cluster", &format!("default={peers}"), "--log-level", "error"]);
    (Program::start(&mut etcd), clients)
}

fn start_kube_apiserver(
    program: PathBuf,
    site: &Site,
    address: SocketAddr,
    etcd: &str,
    users: &Authority,
    front_proxy: &Authority,
) -> Program {
    let file = |name: &str, text: &str| site.file(name, text).display().to_string();
    let proxy = front_proxy.client(FRONT_PROXY);
    let service_accounts = users.client("service accounts");
    let mut command = Command::new(program);
    for (flag, value) in [
        ("etcd-servers", etcd.to_owned()),
        ("bind-address", address.ip().to_string()),
        ("secure-port", address.port().to_string()),
        ("cert-dir", site.path("kube-apiserver").display().to_string()),
        // Required, and may not be a loopback address, but nothing connects to it.
        ("advertise-address", "192.0.2.1".to_owned()),
        ("endpoint-reconciler-type", "none".to_owned()),
        ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
        ("authorization-mode", "RBAC".to_owned()),
        ("client-ca-file", file("users.crt", &users.pem)),
        ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
        ("service-account-key-file", file("service-accounts.crt", &service_accounts.cert)),
        ("service-account-signing-key-file", file("service-accounts.key", &service_accounts.key)),
        ("requestheader-client-ca-file", file("front-proxy-ca.crt", &front_proxy.pem)),
        ("requestheader-allowed-names", FRONT_PROXY.to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("proxy-client-cert-file", file("front-proxy.crt", &proxy.cert)),
        ("proxy-client-key-file", file("front-proxy.key", &proxy.key)),
    ] {
        command.arg(format!("--{flag}={value}"));
    }
    Program::start(&mut command)
}
