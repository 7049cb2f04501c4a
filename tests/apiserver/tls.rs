//! TLS, and certificates that change while the server runs.

use std::{fs, io, os::unix::fs::symlink};

use headcount::config::{FrontProxySettings, KubeTls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    pki::Authority,
    support::{Client, Files, NAME, Site, WORKLOADS, soon, start},
};

#[tokio::test]
async fn with_tls_but_no_front_proxy_only_this_machine_is_served() {
    let (files, ca) = (Files::new(), Authority::new());
    files.write_pair(&ca.server(&[NAME]));
    let app = start(Some(files.tls()), |_| ()).await.unwrap();
    let client = Client::new(app.addresses().kube.unwrap(), &ca, None);
    let other_host = client.get(WORKLOADS, &[]).await;
    other_host.assert_status(403, "Forbidden", &["use localhost, 127.0.0.1"]);
    let io = client.connect().await.unwrap();
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(get_status_line(io, "localhost").await, "HTTP/1.1 200 OK");
}

/// Lists Workloads with this `Host` header; returns the status line.
async fn get_status_line(
    mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    host: &str,
) -> String {
    let request = format!("GET {WORKLOADS} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    soon("a response", io.read_to_string(&mut response)).await.unwrap();
    response.lines().next().unwrap_or_default().to_owned()
}

/// Kubernetes replaces all files of a Secret at once, by changing one symbolic link.
#[tokio::test]
async fn new_connections_get_the_new_certificate() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = Files::new();
    for (version, ca) in [("1", &old), ("2", &new)] {
        let pair = ca.server(&[NAME]);
        fs::create_dir(files.path(version)).unwrap();
        files.write(&format!("{version}/tls.crt"), &pair.cert);
        files.write(&format!("{version}/tls.key"), &pair.key);
    }
    symlink("1", files.path("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), files.path(name)).unwrap();
    }
    let app = start(Some(files.tls()), |_| ()).await.unwrap();
    let addr = app.addresses().kube.unwrap();
    let (trusts_old, trusts_new) = (Client::new(addr, &old, None), Client::new(addr, &new, None));
    let open_before = trusts_old.connect().await.unwrap();
    assert!(trusts_new.connect().await.is_err());

    symlink("2", files.dir().join("..next")).unwrap();
    fs::rename(files.path("..next"), files.path("..data")).unwrap();
    soon("the new certificate", async { while trusts_new.connect().await.is_err() {} }).await;
    let fresh = Client::new(addr, &old, None);
    assert!(fresh.connect().await.is_err(), "the old certificate is no longer served");
    assert_eq!(
        get_status_line(open_before, "localhost").await,
        "HTTP/1.1 200 OK",
        "open connections are kept"
    );
}

#[tokio::test]
async fn an_invalid_pair_is_ignored_until_it_is_valid() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    files.write_pair(&old.server(&[NAME]));
    let app = start(Some(files.tls()), |_| ()).await.unwrap();
    let addr = app.addresses().kube.unwrap();
    let (trusts_old, trusts_new) = (Client::new(addr, &old, None), Client::new(addr, &new, None));
    let pair = new.server(&[NAME]);
    // A certificate that does not belong to the key.
    files.write("tls.crt", &pair.cert);
    for _ in 0..20 {
        trusts_old.connect().await.expect("the old certificate");
    }
    fs::remove_file(files.path("tls.key")).unwrap();
    trusts_old.connect().await.expect("the old certificate");
    files.write("tls.key", &pair.key);
    soon("the new certificate", async { while trusts_new.connect().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_server_with_invalid_files_does_not_start_and_names_the_file() {
    let (files, ca) = (Files::new(), Authority::new());
    let error =
        async |tls: KubeTls| format!("{:#}", start(Some(tls), |_| ()).await.expect_err("an invalid file"));
    let missing = error(files.tls()).await;
    let source =
        format!("--kube-tls-cert-file {}: can't read it: check that", files.path("tls.crt").display());
    assert!(missing.starts_with(&source) && missing.contains("No such file"), "{missing}");

    files.write_pair(&ca.server(&[NAME]));
    files.write("tls.crt", &ca.server(&[NAME]).cert);
    let other = error(files.tls()).await;
    assert!(other.contains("--kube-tls-key-file") && other.contains("issued for this key"), "{other}");

    files.write_pair(&ca.server(&[NAME]));
    files.write("ca.crt", "no certificate");
    let proxy = FrontProxySettings { ca_file: files.path("ca.crt"), allowed_names: Vec::new() };
    let ca = error(KubeTls { front_proxy: Some(proxy), ..files.tls() }).await;
    assert!(ca.starts_with("--kube-client-ca-file") && ca.contains("BEGIN CERTIFICATE"), "{ca}");
}

#[tokio::test]
async fn connections_without_tls_are_closed_and_the_server_keeps_serving() {
    let site = Site::start().await;
    for bytes in
        [&b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 4_096], &[0xff; 4_096], b"\x16\x03\x01\xff\xff"]
    {
        let mut io = TcpStream::connect(site.addr()).await.unwrap();
        io.write_all(bytes).await.unwrap();
        io.shutdown().await.unwrap();
        let mut response = Vec::new();
        // The server may close or reset the connection.
        let _ended: io::Result<_> = soon("the end of the connection", io.read_to_end(&mut response)).await;
        assert!(!response.starts_with(b"HTTP"), "{response:?}");
        assert_eq!(site.client(None).get("/livez", &[]).await.code, 200);
    }
}

/// A connection counts towards the limit before its TLS handshake ends, and no longer when it is closed.
#[tokio::test]
async fn connections_without_a_finished_handshake_are_counted() {
    let site = Site::with(|kube| kube.max_connections = 2).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(site.addr()).await.unwrap());
    }
    // The third takes the place of the first.
    assert_eq!(soon("the end of the connection", silent[0].read(&mut [0])).await.unwrap_or(0), 0);
    drop(silent);
    let client = site.client(None);
    soon("an accepted connection", async { while client.connect().await.is_err() {} }).await;
}
