//! TLS with client certificates, with grpcurl.

use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use serde_json::json;
use tokio::process::Command;
use tonic::Code;

use crate::{
    pki::{Authority, Pair},
    secured,
    support::{Ended, Program, Server, Site, peer, retry},
};

/// A server with TLS whose clients are authenticated.
struct Secured {
    server: Server,
    ca: Authority,
    grpcurl: std::path::PathBuf,
}

const ACCESS: &str = "
roleBindings:
- {role: operator, groups: [mesh-admins]}
- {role: viewer, users: [shop-viewer], namespaces: [shop]}
";

impl Secured {
    /// None if there is no grpcurl.
    async fn start() -> Option<Self> {
        let grpcurl = peer("grpcurl")?;
        let (site, ca) = (Site::new(), Authority::new());
        let address = site.any_port().ip().to_string();
        let Pair { cert, key } = ca.server(&[&address]);
        let (cert, key) = (site.file("tls.crt", &cert), site.file("tls.key", &key));
        let (authority, access) = (site.file("ca.crt", &ca.pem), site.file("access.yaml", ACCESS));
        let flags = format!(
            "--grpc-tls-cert-file {} --grpc-tls-key-file {} --tls-client-ca-file {} --access-file {}",
            cert.display(),
            key.display(),
            authority.display(),
            access.display()
        );
        let server = Server::start_at(site, &flags).await;
        Some(Self { server, ca, grpcurl })
    }

    /// Starts a call as the owner of a certificate.
    fn call(&self, client: Option<&Pair>, method: &str, request: &serde_json::Value) -> Program {
        let mut command = Command::new(&self.grpcurl);
        command.arg("-cacert").arg(self.server.site.path("ca.crt"));
        if let Some(Pair { cert, key }) = client {
            let name = fastrand::u64(..);
            let file = |kind, text| self.server.site.file(&format!("{name}.{kind}"), text);
            command.arg("-cert").arg(file("crt", cert)).arg("-key").arg(file("key", key));
        }
        let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
        command.args(["-import-path", protos, "-proto", "headcount/v1/workload.proto"]);
        command.args(["-d", &request.to_string(), &self.server.grpc.to_string(), method]);
        Program::start(&mut command)
    }

    async fn list(&self, client: Option<&Pair>, namespace: &str) -> Ended {
        let request = json!({ "filter": { "namespace": namespace } });
        self.call(client, "headcount.v1.WorkloadService/ListWorkloads", &request).end().await
    }
}

#[tokio::test]
async fn a_client_certificate_gives_the_roles_of_its_user_and_groups() {
    let Some(secured) = Secured::start().await else { return };
    let admin = secured.ca.client_with("alice", |params| {
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "mesh-admins");
    });
    let viewer = secured.ca.client("shop-viewer");
    let without_role = secured.ca.client("nobody");
    let of_another_ca = Authority::new().client("shop-viewer");

    secured.list(Some(&admin), "").await.expect_exit(0);
    secured.list(Some(&viewer), "shop").await.expect_exit(0);
    let denied = "\"shop-viewer\" has no permission to read workloads";
    secured.list(Some(&viewer), "").await.expect_stderr(&["PermissionDenied", denied]);
    let elsewhere = secured.list(Some(&viewer), "bank").await;
    elsewhere.expect_stderr(&["PermissionDenied", denied, "in namespace bank"]);
    let denied = "\"nobody\" has no permission to read workloads";
    secured.list(Some(&without_role), "shop").await.expect_stderr(&["PermissionDenied", denied]);
    secured.list(None, "shop").await.expect_stderr(&["Unauthenticated", "authentication is required"]);
    let refused = secured.list(Some(&of_another_ca), "shop").await;
    refused.expect_stderr(&["Unauthenticated", "no valid certificate"]);
}

#[tokio::test]
async fn a_watch_ends_when_the_access_file_no_longer_allows_it() {
    let Some(secured) = Secured::start().await else { return };
    let viewer = secured.ca.client("shop-viewer");
    let request = json!({ "filter": { "namespace": "shop" } });
    let watch = secured.call(Some(&viewer), "headcount.v1.WorkloadService/WatchWorkloads", &request);
    watch.wait_for_stdout("the first response", |out| out.contains("synced").then_some(())).await;
    secured.server.site.file("access.yaml", "roleBindings: [{role: viewer, users: [somebody]}]");
    let ended = watch.end().await;
    ended.expect_stderr(&["PermissionDenied", "\"shop-viewer\" has no permission to read workloads"]);
    secured.list(Some(&viewer), "shop").await.expect_stderr(&["PermissionDenied"]);
}

#[tokio::test]
async fn a_changed_ca_file_counts_for_the_next_request_of_an_open_connection() {
    let secured = secured::Secured::start(&["grpc"], "").await;
    let admin = secured.ca.client("admin");
    let channel = secured.client(Some(&admin)).connect(secured.server.grpc, None).await.unwrap();
    let list = async || {
        let mut client = WorkloadServiceClient::new(channel.clone());
        client.list_workloads(ListWorkloadsRequest::default()).await
    };
    for _ in 0..3 {
        list().await.unwrap();
    }
    let other = Authority::new();
    for (trusted, is_valid) in [(&other.pem, false), (&secured.ca.pem, true)] {
        secured.server.site.file("ca.crt", trusted);
        retry("the new CA file in use", async || (list().await.is_ok() == is_valid).then_some(())).await;
    }
    secured.server.site.file("ca.crt", &other.pem);
    let refused = retry("the refusal", async || list().await.err()).await;
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert!(refused.message().contains("no valid certificate"), "{refused:?}");
}
