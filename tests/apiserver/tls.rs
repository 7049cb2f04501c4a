//! TLS, and certificates that change.

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
async fn encrypted_and_to_this_machine_alone_it_needs_no_client_certificate() {
    let (files, ca) = (Files::new(), Authority::new());
    files.write_pair(&ca.server(&[NAME]));
    let app = start(Some(files.tls()), |_| ()).await.unwrap();
    let client = Client::new(app.addresses().kube.unwrap(), &ca, None);
    let own = client.get(WORKLOADS, &[]).await;
    own.refuses(403, "Forbidden", &["use localhost, 127.0.0.1"]);
    let io = client.connect().await.unwrap();
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(say(io, "localhost").await, "HTTP/1.1 200 OK");
}

/// Asks for the list as somebody who calls the server so.
async fn say(mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, host: &str) -> String {
    let request = format!("GET {WORKLOADS} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    soon("an answer", io.read_to_string(&mut heard)).await.unwrap();
    heard.lines().next().unwrap_or_default().to_owned()
}

/// Kubernetes turns one link, and so replaces all files of a Secret at once.
#[tokio::test]
async fn a_new_certificate_is_served_to_who_comes_next() {
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
    let (believes_old, believes_new) = (Client::new(addr, &old, None), Client::new(addr, &new, None));
    let open_before = believes_old.connect().await.unwrap();
    assert!(believes_new.connect().await.is_err());

    symlink("2", files.dir().join("..next")).unwrap();
    fs::rename(files.path("..next"), files.path("..data")).unwrap();
    soon("the new certificate", async { while believes_new.connect().await.is_err() {} }).await;
    let fresh = Client::new(addr, &old, None);
    assert!(fresh.connect().await.is_err(), "the old one is not served any more");
    assert_eq!(say(open_before, "localhost").await, "HTTP/1.1 200 OK", "who was there is not disturbed");
}

#[tokio::test]
async fn a_broken_pair_keeps_the_old_one() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    files.write_pair(&old.server(&[NAME]));
    let app = start(Some(files.tls()), |_| ()).await.unwrap();
    let addr = app.addresses().kube.unwrap();
    let (believes_old, believes_new) = (Client::new(addr, &old, None), Client::new(addr, &new, None));
    let pair = new.server(&[NAME]);
    // The certificate of another key, as long as the key is not there.
    files.write("tls.crt", &pair.cert);
    for _ in 0..20 {
        believes_old.connect().await.expect("the old one");
    }
    fs::remove_file(files.path("tls.key")).unwrap();
    believes_old.connect().await.expect("the old one");
    files.write("tls.key", &pair.key);
    soon("the new certificate", async { while believes_new.connect().await.is_err() {} }).await;
}

#[tokio::test]
async fn a_server_without_its_files_does_not_start_and_says_which() {
    let (files, ca) = (Files::new(), Authority::new());
    let why =
        async |tls: KubeTls| format!("{:#}", start(Some(tls), |_| ()).await.expect_err("it does not start"));
    let missing = why(files.tls()).await;
    let place =
        format!("--kube-tls-cert-file {}: can't read it: check that", files.path("tls.crt").display());
    assert!(missing.starts_with(&place) && missing.contains("No such file"), "{missing}");

    files.write_pair(&ca.server(&[NAME]));
    files.write("tls.crt", &ca.server(&[NAME]).cert);
    let other = why(files.tls()).await;
    assert!(other.contains("--kube-tls-key-file") && other.contains("issued for this key"), "{other}");

    files.write_pair(&ca.server(&[NAME]));
    files.write("ca.crt", "no certificate");
    let proxy = FrontProxySettings { ca_file: files.path("ca.crt"), allowed_names: Vec::new() };
    let ca = why(KubeTls { front_proxy: Some(proxy), ..files.tls() }).await;
    assert!(ca.starts_with("--kube-client-ca-file") && ca.contains("BEGIN CERTIFICATE"), "{ca}");
}

#[tokio::test]
async fn who_speaks_no_tls_is_cut_and_hurts_nobody() {
    let site = Site::start().await;
    for noise in
        [&b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 4_096], &[0xff; 4_096], b"\x16\x03\x01\xff\xff"]
    {
        let mut io = TcpStream::connect(site.addr()).await.unwrap();
        io.write_all(noise).await.unwrap();
        io.shutdown().await.unwrap();
        let mut heard = Vec::new();
        // Reset or closed: both are an end.
        let _ended: io::Result<_> = soon("its end", io.read_to_end(&mut heard)).await;
        assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
        assert_eq!(site.client(None).get("/livez", &[]).await.code, 200);
    }
}

/// Half a handshake takes a place, and gives it back.
#[tokio::test]
async fn connections_that_are_not_greeted_yet_are_counted_too() {
    let site = Site::with(|kube| kube.max_connections = 2).await;
    let silent =
        [TcpStream::connect(site.addr()).await.unwrap(), TcpStream::connect(site.addr()).await.unwrap()];
    let mut refused = TcpStream::connect(site.addr()).await.unwrap();
    assert_eq!(soon("its end", refused.read(&mut [0])).await.unwrap_or(0), 0);
    drop(silent);
    let client = site.client(None);
    soon("a place", async { while client.connect().await.is_err() {} }).await;
}
