//! `headcount envoy bootstrap`.

use clap::Args;

use super::{admin::AdminAddress, control_plane::ControlPlane, document::Bootstrap, node};
use crate::cli::{
    Failure, Format, Outcome, Parsed, Problems, Terminal, dataplane_file::DataplaneFileArg, output::document,
    server_url::ServerUrl,
};

/// Print the bootstrap of an Envoy that reports to headcount
///
/// Reads Kuma's Dataplane resource unmodified. The Envoy says who it is in
/// node.id and node.metadata, and checks what headcount asks it to: each inbound
/// by HTTP or TCP as its serviceProbe says (by TCP if it has none), and its own
/// readiness, so that a drain shows. How often it checks and reports are settings
/// of the server; the times and thresholds of a serviceProbe do not reach it.
///
/// Listeners and clusters of the traffic are yours. Envoy merges them itself,
/// see the examples: it takes what is printed here as it is, and adds the lists
/// of your file to its own. An Envoy has one `hds_config` and one node; leave
/// them and the admin interface out of yours.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount envoy bootstrap --dataplane-file dp.yaml > headcount.yaml
  envoy -c headcount.yaml                                          reports, and serves nothing
  envoy -c headcount.yaml --config-yaml \"$(cat listeners.yaml)\"    and serves your traffic
  headcount envoy bootstrap --dataplane-file dp.yaml --control-plane headcount.mesh.svc:7100")]
pub(super) struct BootstrapArgs {
    #[command(flatten)]
    dataplane_file: DataplaneFileArg,
    /// Where headcount listens for gRPC, as seen by the Envoy; `host:port` will do
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7100")]
    control_plane: Parsed<ServerUrl>,
    /// Where the Envoy's own admin interface is to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin_addr: Parsed<AdminAddress>,
}

impl BootstrapArgs {
    /// Prints the bootstrap, and on stderr what is not as in the file.
    pub(super) fn run(self, mut problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let control_plane = problems.take("control-plane", self.control_plane);
        let control_plane = control_plane
            .and_then(|url| problems.take_checked("control-plane", ControlPlane::from_url(&url)));
        let admin = problems.take("admin-addr", self.admin_addr);
        let file = self.dataplane_file.read(&mut problems);
        let stated = file.and_then(|file| self.dataplane_file.take(node::Stated::new(file), &mut problems));
        let (Some(control_plane), Some(admin), Some(stated)) = (control_plane, admin, stated) else {
            return Err(problems.into());
        };
        problems.finish()?;
        for remark in stated.remarks() {
            terminal.remark(remark)?;
        }
        let bootstrap = Bootstrap::new(stated.node(admin), admin, &control_plane);
        terminal.print(&document(Format::Yaml, &bootstrap))?;
        Ok(Outcome::Success)
    }
}
