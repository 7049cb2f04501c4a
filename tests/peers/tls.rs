//! TLS of the real binary, with clients of other TLS libraries.

use tokio::process::Command;

use crate::support::{Program, Server, Site, headcount, peer};

/// The commands of `headcount generate tls-certificate --help`, with other addresses and files.
#[tokio::test]
async fn a_generated_certificate_is_that_of_a_server_and_the_ca_file_of_its_clients() {
    let Some(grpcurl) = peer("grpcurl") else { return };
    let site = Site::new();
    let (cert, key) = (site.path("tls.crt"), site.path("tls.key"));
    let (cert_file, key_file, address) = (cert.display(), key.display(), site.any_port().ip());
    let generate = format!(
        "generate tls-certificate --hostname localhost --hostname {address} --cert-file {cert_file} --key-file {key_file}"
    );
    Program::start(&mut headcount(&generate)).end().await.expect_exit(0);

    let flags = format!("--tls-cert-file {cert_file} --tls-key-file {key_file} --insecure-allow-anonymous");
    let server = Server::start_at(site, &flags).await;
    let call = |options: &[&str]| {
        let mut command = Command::new(&grpcurl);
        command.arg("-cacert").arg(&cert).args(options);
        command.args([&server.grpc.to_string(), "headcount.v1.WorkloadService/ListWorkloads"]);
        Program::start(&mut command).end()
    };
    call(&[]).await.expect_exit(0);
    call(&["-servername", "localhost"]).await.expect_exit(0);
    let other = call(&["-servername", "headcount.example.com", "-max-time", "20"]).await;
    assert!(other.err.contains("certificate is valid for localhost, not"), "{other}");

    let get = format!("get workloads --server https://{} --ca-file {cert_file}", server.grpc);
    Program::start(&mut headcount(&get)).end().await.expect_exit(0);
}
