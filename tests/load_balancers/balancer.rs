//! A load balancer and its configuration.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::{net::TcpStream, process::Command};

use crate::support::{Program, Site, peer, replace, retry};

/// A program that balances load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Haproxy,
    /// haproxy as a balancer of connections, which does not take part in HTTP/2.
    HaproxyTcp,
    Envoy,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Nginx, Self::Haproxy, Self::HaproxyTcp, Self::Envoy];

    /// Returns the path of the program; see [`peer`].
    pub(crate) fn find(self) -> Option<PathBuf> {
        peer(match self {
            Self::Nginx => "nginx",
            Self::Haproxy | Self::HaproxyTcp => "haproxy",
            Self::Envoy => "envoy",
        })
    }

    /// The documented configuration.
    fn example(self) -> &'static str {
        match self {
            Self::Nginx => include_str!("../../examples/load-balancers/nginx.conf"),
            Self::Haproxy => include_str!("../../examples/load-balancers/haproxy.cfg"),
            Self::HaproxyTcp => include_str!("../../examples/load-balancers/haproxy-tcp.cfg"),
            Self::Envoy => include_str!("../../examples/load-balancers/envoy.yaml"),
        }
    }
}

/// The addresses of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upstream {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// The text of a configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    kind: Kind,
    text: String,
}

impl Configuration {
    /// The documented configuration of a balancer.
    pub(crate) fn of(kind: Kind) -> Self {
        Self { kind, text: kind.example().to_owned() }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Replaces a part, which must exist.
    #[track_caller]
    pub(crate) fn with(self, from: &str, to: &str) -> Self {
        Self { text: replace(&self.text, from, to), ..self }
    }

    fn with_addresses(self, address: SocketAddr, Upstream { grpc, http }: Upstream) -> Self {
        match self.kind {
            Kind::Nginx => self
                .with("listen 7200", &format!("listen {address}"))
                .with("server 127.0.0.1:7100", &format!("server {grpc}")),
            Kind::Haproxy | Kind::HaproxyTcp => self
                .with("bind :7200", &format!("bind {address}"))
                .with("127.0.0.1:7100", &grpc.to_string())
                .with("check port 7101", &format!("check addr {} port {}", http.ip(), http.port())),
            Kind::Envoy => self
                .with("address: 0.0.0.0, port_value: 7200", &envoy_address(address))
                .with("address: 127.0.0.1, port_value: 7100", &envoy_address(grpc)),
        }
    }
}

fn envoy_address(address: SocketAddr) -> String {
    format!("address: {}, port_value: {}", address.ip(), address.port())
}

/// A running balancer; killed on drop.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _program: Program,
}

impl Balancer {
    /// Starts a program that listens on this address, and waits until it accepts connections.
    pub(crate) async fn start(
        program: &Path,
        configuration: Configuration,
        address: SocketAddr,
        upstream: Upstream,
        site: &Site,
    ) -> Self {
        let kind = configuration.kind;
        let text = configuration.with_addresses(address, upstream).text;
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => nginx(&mut command, &text, site),
            Kind::Haproxy | Kind::HaproxyTcp => haproxy(&mut command, &text, site),
            Kind::Envoy => {
                command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
                command.arg("-c").arg(site.file("balancer.yaml", &text))
            }
        };
        let program = Program::start(&mut command);
        retry("the balancer accepts connections", async || TcpStream::connect(address).await.ok()).await;
        Self { address, _program: program }
    }
}

/// The rest of Debian's nginx.conf, with paths of the test.
fn nginx<'a>(command: &'a mut Command, server: &str, site: &Site) -> &'a mut Command {
    site.file("headcount.conf", server);
    let main = site.file(
        "nginx.conf",
        "daemon off;
         master_process off;
         worker_processes 1;
         pid nginx.pid;
         events { worker_connections 8192; }
         http {
             access_log off;
             client_body_temp_path client_body;
             proxy_temp_path proxy;
             fastcgi_temp_path fastcgi;
             uwsgi_temp_path uwsgi;
             scgi_temp_path scgi;
             include headcount.conf;
         }",
    );
    let directory = main.parent().expect("a directory");
    command.arg("-p").arg(directory).args(["-c", "nginx.conf", "-e", "stderr"])
}

/// The defaults of Debian's haproxy.cfg, without its log and chroot.
fn haproxy<'a>(command: &'a mut Command, sections: &str, site: &Site) -> &'a mut Command {
    let defaults = site.file(
        "defaults.cfg",
        "global
            maxconn 8192
         defaults
            mode http
            timeout connect 5000
            timeout client 50000
            timeout server 50000\n",
    );
    command.arg("-db").arg("-f").arg(defaults).arg("-f").arg(site.file("headcount.cfg", sections))
}
