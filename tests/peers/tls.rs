//! TLS of the real binary, with clients of other TLS libraries.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::{
    pki::{Authority, Pair},
    support::{DEADLINE, Ended, Program, Server, Site, headcount, peer, retry},
};

/// Starts a server with TLS on all listeners, at which callers without a credential may do everything.
async fn secured(flags: &str) -> Server {
    let (site, ca) = (Site::new(), Authority::new());
    let Pair { cert, key } = ca.server(&[&site.any_port().ip().to_string()]);
    let (cert, key) = (site.file("tls.crt", &cert), site.file("tls.key", &key));
    site.file("ca.crt", &ca.pem);
    let (cert, key) = (cert.display(), key.display());
    let own = format!("--tls-cert-file {cert} --tls-key-file {key} --insecure-allow-anonymous");
    Server::start_at(site, &format!("{own} {flags}")).await
}

/// Whether the system has OpenSSL's client.
async fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().await.is_ok();
    if !found {
        println!("SKIPPED: openssl is missing");
    }
    found
}

/// One handshake with OpenSSL.
async fn openssl(server: &Server, address: SocketAddr, options: &str) -> Ended {
    let mut command = Command::new("openssl");
    // The configuration of the system may forbid old versions, which would then not reach the server.
    command.env("OPENSSL_CONF", "/dev/null").args(["s_client", "-verify_return_error", "-CAfile"]);
    command.arg(server.site.path("ca.crt")).args(["-connect", &address.to_string()]);
    Program::start(command.args(options.split(' '))).end().await
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_accepted_with_one_protocol_for_each_address() {
    if !has_openssl().await {
        return;
    }
    let server = secured("").await;
    for (address, alpn, other) in
        [(server.grpc, "h2", "http/1.1"), (server.http, "http/1.1", "h2"), (server.kube, "http/1.1", "h2")]
    {
        for version in ["1_2", "1_3"] {
            let ended = openssl(&server, address, &format!("-tls{version} -alpn h2,http/1.1")).await;
            let ended = ended.expect_exit(0);
            assert!(ended.out.contains(&format!("ALPN protocol: {alpn}\n")), "{ended}");
            assert!(ended.out.contains(&format!("TLSv{}", version.replace('_', "."))), "{ended}");
        }
        let refused = openssl(&server, address, &format!("-alpn {other}")).await.expect_exit(1);
        assert!(refused.err.contains("alert no application protocol"), "{refused}");
        for version in ["1", "1_1"] {
            let old = format!("-tls{version} -cipher DEFAULT@SECLEVEL=0");
            let refused = openssl(&server, address, &old).await.expect_exit(1);
            // Some old clients do not name the signature algorithms that they support, which is checked first.
            let alert = ["alert protocol version", "alert handshake failure"];
            assert!(alert.iter().any(|alert| refused.err.contains(alert)), "{refused}");
        }
    }
}

#[tokio::test]
async fn cipher_suites_without_forward_secrecy_or_authenticated_encryption_are_refused() {
    if !has_openssl().await {
        return;
    }
    let server = secured("").await;
    let tls_1_2 = |suite: &str| format!("-tls1_2 -cipher {suite}:@SECLEVEL=0");
    let tls_1_3 = |suite: &str| format!("-tls1_3 -ciphersuites {suite}");
    for (options, accepted) in [
        (tls_1_2("ECDHE-ECDSA-AES128-GCM-SHA256"), true),
        (tls_1_2("ECDHE-ECDSA-AES256-GCM-SHA384"), true),
        (tls_1_2("ECDHE-ECDSA-CHACHA20-POLY1305"), true),
        (tls_1_2("ECDHE-ECDSA-AES128-SHA"), false),
        (tls_1_2("ECDHE-ECDSA-AES256-SHA384"), false),
        (tls_1_2("ECDHE-ECDSA-CAMELLIA128-SHA256"), false),
        (tls_1_2("ECDHE-ECDSA-NULL-SHA"), false),
        (tls_1_2("AES128-GCM-SHA256"), false),
        (tls_1_2("AECDH-AES128-SHA"), false),
        (tls_1_2("AECDH-NULL-SHA"), false),
        (tls_1_3("TLS_AES_128_GCM_SHA256"), true),
        (tls_1_3("TLS_CHACHA20_POLY1305_SHA256"), true),
        (tls_1_3("TLS_AES_128_CCM_8_SHA256"), false),
    ] {
        let ended = openssl(&server, server.grpc, &format!("{options} -alpn h2")).await;
        let ended = ended.expect_exit(i32::from(!accepted));
        assert!(accepted || ended.err.contains("alert handshake failure"), "{ended}");
    }
}

/// The server with the expired certificate is OpenSSL's: headcount does not start with one.
#[tokio::test]
async fn the_agent_states_what_is_wrong_with_the_certificate_of_its_server() {
    if !has_openssl().await {
        return;
    }
    let (server, ca) = (secured("").await, Authority::new());
    let (site, expired_at) = (&server.site, server.site.free_port());
    let past = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    let Pair { cert, key } = ca.server_with(&[&expired_at.ip().to_string()], past);
    site.file("other-ca.crt", &ca.pem);
    let mut expired = Command::new("openssl");
    expired.args(["s_server", "-quiet", "-alpn", "h2", "-accept", &expired_at.to_string()]);
    expired.arg("-cert").arg(site.file("old.crt", &cert)).arg("-key").arg(site.file("old.key", &key));
    let _expired = Program::start(&mut expired);

    let dataplane = site.file("dataplane.yaml", &crate::support::gateway("default", "web", "web-1"));
    let own = server.grpc;
    for (server, ca, more, problem) in [
        (expired_at, "other-ca.crt", "", "the server's certificate expired at 2020-01-02T00:00:00Z"),
        (own, "other-ca.crt", "", "the server's certificate was not issued by a CA in --ca-file"),
        (
            own,
            "ca.crt",
            " --tls-server-name a.example",
            "the server's certificate is not for a.example, but for 127",
        ),
    ] {
        let to = format!("--server https://{server} --ca-file {}{more}", site.path(ca).display());
        let agent = format!("agent --dataplane-file {} {to}", dataplane.display());
        Program::start(&mut headcount(&agent)).wait_for_stderr(problem).await;
    }
}

#[tokio::test]
async fn a_watch_outlives_its_certificate_and_new_connections_get_the_new_one() {
    let Some(grpcurl) = peer("grpcurl") else { return };
    let server = secured("").await;
    let call = |ca: &str, method: &str| {
        let mut command = Command::new(&grpcurl);
        command.arg("-cacert").arg(server.site.path(ca)).args(["-max-time", "20"]);
        command.args([&server.grpc.to_string(), &format!("headcount.v1.WorkloadService/{method}")]);
        Program::start(&mut command)
    };
    let mut watch = Command::new(&grpcurl);
    watch.arg("-cacert").arg(server.site.path("ca.crt")).arg(server.grpc.to_string());
    let watch = Program::start(watch.arg("headcount.v1.WorkloadService/WatchWorkloads"));
    watch.wait_for_stdout("the snapshot", |out| out.contains("synced").then_some(())).await;

    let new = Authority::new();
    let Pair { cert, key } = new.server(&[&server.grpc.ip().to_string()]);
    server.site.file("new-ca.crt", &new.pem);
    server.site.file("tls.crt", &cert);
    server.site.file("tls.key", &key);
    server.program.wait_for_stderr_matching("the reload", |log| log.contains("reloaded")).await;
    retry("the new certificate", async || {
        (call("new-ca.crt", "ListWorkloads").end().await.code == Some(0)).then_some(())
    })
    .await;
    let old = call("ca.crt", "ListWorkloads").end().await;
    assert!(old.err.contains("certificate signed by unknown authority"), "{old}");

    let agent = format!(
        "agent --server https://{} --ca-file {} --dataplane-file {}",
        server.grpc,
        server.site.path("new-ca.crt").display(),
        server.site.file("dataplane.yaml", &crate::support::gateway("default", "web", "web-1")).display()
    );
    let _agent = Program::start(&mut headcount(&agent));
    watch.wait_for_stdout("a change", |out| out.contains("\"web\"").then_some(())).await;
}

/// With a place for one connection, the second client is served only if the first has lost its place.
#[tokio::test]
async fn a_stalled_handshake_is_closed_in_time_and_gives_its_place_back() {
    let Some(grpcurl) = peer("grpcurl") else { return };
    let server = secured("--max-connections 1 --hello-timeout 500ms").await;
    let mut stalled = TcpStream::connect(server.grpc).await.unwrap();
    stalled.write_all(&[22, 3, 1]).await.unwrap();
    let ended = timeout(DEADLINE, stalled.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "the server closes the connection");
    let mut list = Command::new(&grpcurl);
    list.arg("-cacert").arg(server.site.path("ca.crt")).arg(server.grpc.to_string());
    Program::start(list.arg("headcount.v1.WorkloadService/ListWorkloads")).end().await.expect_exit(0);
}

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
