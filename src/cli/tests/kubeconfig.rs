//! `headcount kubeconfig`.

use super::run;
use crate::net::tls::pki;

#[tokio::test]
async fn a_kubeconfig_has_the_server_and_the_namespace() {
    let ended = run("kubeconfig --kube-server 127.0.0.1:9 -n shop").await;
    let config: serde_json::Value = serde_saphyr::from_str(&ended.out).unwrap();
    assert_eq!(config["clusters"][0]["cluster"]["server"], "http://127.0.0.1:9");
    let context = serde_json::json!({ "cluster": "headcount", "user": "headcount", "namespace": "shop" });
    assert_eq!(config["contexts"][0]["context"], context);
    assert_eq!(config["current-context"], config["contexts"][0]["name"]);
    let default = run("kubeconfig").await;
    assert!(default.out.contains("server: http://127.0.0.1:7102\n"), "{}", default.out);
    let encrypted = run("kubeconfig --kube-server https://localhost").await;
    assert!(encrypted.out.contains("server: https://localhost:7102\n"), "{}", encrypted.out);
    let report = run("kubeconfig --kube-server https://a/b -n No_Namespace").await.failure();
    assert!(
        report.contains("2 problems") && report.contains("--kube-server") && report.contains("namespace"),
        "{report}"
    );
}

#[tokio::test]
async fn an_unusable_ca_file_is_rejected() {
    for (flags, problems) in [
        ("--kube-server https://a --ca-file /nowhere", &["--ca-file: /nowhere: can't read it"][..]),
        ("--kube-server https://a --ca-file Cargo.toml", &["Cargo.toml", "certificate"]),
        (
            "--ca-file /nowhere",
            &["2 problems", "--ca-file: requires TLS, and http://127.0.0.1:7102 has none"],
        ),
    ] {
        let report = run(&format!("kubeconfig {flags}")).await.failure();
        assert!(problems.iter().all(|problem| report.contains(problem)), "{flags}: {report}");
    }
}

#[tokio::test]
async fn credentials_are_in_the_kubeconfig_as_paths() {
    let (ca, directory) = (pki::Authority::new(), tempfile::tempdir().unwrap());
    let pair = ca.client("me");
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (name, text) in [("ca", &*ca.pem), ("crt", &pair.cert), ("key", &pair.key), ("token", "secret\n")] {
        std::fs::write(path(name), text).unwrap();
    }
    let server = "--kube-server https://h --tls-server-name n";
    let flags = format!("{server} --ca-file {} --token-file {}", path("ca"), path("token"));
    let identity = format!("--client-cert-file {} --client-key-file {}", path("crt"), path("key"));
    let ended = run(&format!("kubeconfig {flags} {identity}")).await;
    assert!(ended.result.is_ok(), "{:?}", ended.result);
    let config: serde_json::Value = serde_saphyr::from_str(&ended.out).unwrap();
    let cluster = serde_json::json!({
        "server": "https://h:7102", "certificate-authority": path("ca"), "tls-server-name": "n",
    });
    assert_eq!(config["clusters"][0]["cluster"], cluster);
    let user = serde_json::json!({
        "client-certificate": path("crt"), "client-key": path("key"), "tokenFile": path("token"),
    });
    assert_eq!(config["users"][0]["user"], user);
    // kubectl sends no token without TLS.
    let report = run(&format!("kubeconfig --token-file {}", path("token"))).await.failure();
    assert!(report.contains("--token-file: requires TLS, and http://127.0.0.1:7102 has none"), "{report}");
}
