//! `headcount envoy bootstrap`.

use clap::Args;

use super::{
    admin::{AdminAddress, DEFAULT_PORT},
    control_plane::ControlPlane,
    document::Bootstrap,
    node,
};
use crate::cli::{
    Failure, Format, Outcome, Parsed, Problems, Terminal,
    args::{dataplane_file::DataplaneFileArg, server_url::ServerUrl},
    output::document,
};

/// Print the bootstrap configuration of an Envoy that reports to headcount
///
/// Converts a Kuma Dataplane resource to an Envoy bootstrap. An Envoy that
/// starts with it registers as that dataplane, runs the health checks that
/// headcount sends, and reports their results.
///
/// headcount requests one check for each inbound, by HTTP or TCP as its
/// serviceProbe states (TCP if it has none), and one of Envoy's own readiness,
/// which fails while Envoy starts or drains. Intervals, timeouts and thresholds
/// are settings of the server (`headcount serve --envoy-check-interval` and so
/// on); those of a serviceProbe are not used.
///
/// The output has no listeners, so this Envoy carries no traffic. Write your
/// listeners and clusters to a file of their own, and let Envoy merge it with
/// `--config-yaml`: it appends the lists of the second file to those of the
/// first. Leave `node`, `admin` and `hds_config` out of your file.
#[derive(Args, Debug)]
#[command(after_help = "\
Output:
  node               the dataplane: its name, namespace, labels and inbounds
  admin              Envoy's admin interface, where headcount has /ready checked
  hds_config         the stream that receives health checks and sends reports
  static_resources   the cluster `headcount`: the server's address, HTTP/2, keepalive

Examples:
  Print a bootstrap, and start an Envoy that only reports:
    headcount envoy bootstrap --dataplane-file dp.yaml > headcount.yaml
    envoy -c headcount.yaml
  Start an Envoy that also carries the traffic of your listeners:
    envoy -c headcount.yaml --config-yaml \"$(cat listeners.yaml)\"
  Use a server on another host:
    headcount envoy bootstrap --dataplane-file dp.yaml --control-plane headcount.mesh.svc:7100")]
pub(super) struct BootstrapArgs {
    #[command(flatten)]
    dataplane_file: DataplaneFileArg,
    /// gRPC address of headcount as the Envoy reaches it: `http://host:port` or `host:port`
    ///
    /// The port defaults to 7100. A host name is resolved by Envoy, for IPv4 and IPv6.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7100")]
    control_plane: Parsed<ServerUrl>,
    /// Address of Envoy's admin interface: `IP:PORT`
    ///
    /// Envoy checks its own readiness there. If the address is `0.0.0.0` or `[::]`, the check uses
    /// loopback. The default is loopback with the port that the file states in
    /// networking.admin.port, or else 9901.
    #[arg(long, value_name = "ADDR")]
    admin_addr: Option<Parsed<AdminAddress>>,
}

impl BootstrapArgs {
    /// Prints the bootstrap on stdout, and on stderr how it differs from the file.
    pub(super) fn run(self, mut problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let control_plane = problems.take("control-plane", self.control_plane);
        let control_plane = control_plane
            .and_then(|url| problems.take_checked("control-plane", ControlPlane::from_url(&url)));
        let admin = problems.take_optional("admin-addr", self.admin_addr);
        let file = self.dataplane_file.read(&mut problems);
        let file =
            file.and_then(|file| self.dataplane_file.take(node::ValidatedFile::new(file), &mut problems));
        let (Some(control_plane), Some(file)) = (control_plane, file) else {
            return Err(problems.into());
        };
        problems.finish()?;
        let admin =
            admin.unwrap_or_else(|| AdminAddress::loopback(file.admin_port().unwrap_or(DEFAULT_PORT)));
        for remark in file.remarks() {
            terminal.remark(remark);
        }
        let bootstrap = Bootstrap::new(file.into_node(admin), admin, &control_plane);
        terminal.print(&document(Format::Yaml, &bootstrap))?;
        Ok(Outcome::Success)
    }
}
