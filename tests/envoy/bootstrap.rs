//! Bootstraps that `headcount envoy bootstrap` prints, and their validation by a real Envoy.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::{
    envoy, pki,
    support::{Ended, Program, Server, Site, gateway, headcount},
};

/// Writes a Dataplane file, prints its bootstrap to another file, and returns the path of that.
pub(crate) async fn print(
    site: &Site,
    name: &str,
    dataplane: &str,
    control_plane: &str,
    admin: SocketAddr,
) -> PathBuf {
    let file = site.file(&format!("{name}.yaml"), dataplane);
    let arguments = format!(
        "envoy bootstrap --dataplane-file {} --control-plane {control_plane} --admin-addr {admin}",
        file.display()
    );
    let printed = Program::start(&mut headcount(&arguments)).end().await.expect_exit(0).out;
    site.file(&format!("{name}-envoy.yaml"), &printed)
}

/// Writes a bootstrap with this `node`, and returns its path.
pub(crate) async fn with_node(server: &Server, name: &str, node: &Value, admin: SocketAddr) -> PathBuf {
    let any = gateway("default", "any", "any");
    let printed = print(&server.site, name, &any, &server.grpc.to_string(), admin).await;
    let mut bootstrap: Value = serde_saphyr::from_str(&fs::read_to_string(printed).unwrap()).unwrap();
    bootstrap["node"] = node.clone();
    server.site.file(&format!("{name}.json"), &bootstrap.to_string())
}

async fn validate(envoy: &PathBuf, arguments: &[&str]) -> Ended {
    Program::start(Command::new(envoy).args(["--mode", "validate"]).args(arguments)).end().await
}

#[tokio::test]
async fn envoy_accepts_each_bootstrap() {
    let Some(envoy) = envoy::find() else { return };
    let site = Site::new();
    let unusual = "\
type: Dataplane
mesh: '1'
name: '0'
labels: {a: 'yes', b: 'null', c: '010', d: '1e3', e: '', n/a: 'off', n/b: '0x1F', n/c: '1_0', n/d: 'NaN'}
networking:
  address: '::1'
  inbound:
    - {port: 65535, name: '~', tags: {t: 'on', 'true': '1.'}, serviceProbe: {http: {path: '/?a=%20&b=#'}}}
    - {port: 1, name: \"it's: \\\"this\\\" # {one}\"}
";
    let (loopback, all) = ("127.0.0.1:9901".parse().unwrap(), "[::]:9901".parse().unwrap());
    for (name, dataplane, control_plane, admin) in [
        ("demo", include_str!("../../examples/dataplanes/demo-workload.yaml"), "127.0.0.1", loopback),
        ("gateway", include_str!("../../examples/dataplanes/gateway.yaml"), "http://[::1]:7100", all),
        ("unusual", unusual, "head_count.mesh.svc:1", loopback),
    ] {
        let printed = print(&site, name, dataplane, control_plane, admin).await;
        let ended = validate(&envoy, &["-c", printed.to_str().unwrap()]).await.expect_exit(0);
        assert!(!ended.err.contains("[warning]") && !ended.err.contains("deprecated"), "{name}: {ended}");
    }
}

#[tokio::test]
async fn envoy_accepts_tls_a_client_certificate_and_a_token() {
    let Some(envoy) = envoy::find() else { return };
    let site = Site::new();
    let ca = pki::Authority::new();
    let client = ca.client("web");
    let file = |name: &str, text: &str| site.file(name, text).display().to_string();
    let flags = format!(
        "--ca-file {} --token-file {} --client-cert-file {} --client-key-file {}",
        file("ca.crt", &ca.pem),
        file("token", "a.b.c\n"),
        file("tls.crt", &client.cert),
        file("tls.key", &client.key),
    );
    let demo = include_str!("../../examples/dataplanes/demo-workload.yaml");
    for server in ["https://127.0.0.1", "https://headcount.mesh.svc:7100"] {
        let admin = "127.0.0.1:9901".parse().unwrap();
        let printed = print(&site, "tls", demo, &format!("{server} {flags}"), admin).await;
        let ended = validate(&envoy, &["-c", printed.to_str().unwrap()]).await.expect_exit(0);
        assert!(ended.err.contains("loading 1 static secret"), "{ended}");
        assert!(!ended.err.contains("[warning]") && !ended.err.contains("deprecated"), "{ended}");
    }
}

/// As the help states: Envoy appends the lists of the user's file.
#[tokio::test]
async fn envoy_merges_the_bootstrap_with_listeners_of_the_user() {
    let Some(envoy) = envoy::find() else { return };
    let site = Site::new();
    let traffic = "\
static_resources:
  listeners:
  - name: inbound
    address: {socket_address: {address: 127.0.0.1, port_value: 18080}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: inbound
          cluster: application
  clusters:
  - name: application
    load_assignment:
      cluster_name: application
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}}]}]
";
    let admin = "127.0.0.1:9901".parse().unwrap();
    let printed = print(&site, "edge", &gateway("default", "edge", "edge-1"), "127.0.0.1", admin).await;
    let printed = printed.to_str().unwrap();
    let ended = validate(&envoy, &["-c", printed, "--config-yaml", traffic]).await.expect_exit(0);
    assert!(ended.err.contains("loading 2 cluster(s)"), "{ended}");
    assert!(ended.err.contains("loading 1 listener(s)"), "{ended}");
}
