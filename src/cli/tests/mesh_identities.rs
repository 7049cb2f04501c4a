//! MeshIdentities by a real server: `apply`, `get` and `delete`, and the SPIFFE IDs of dataplanes.

use std::fs;

use super::{
    Outcome,
    real_server::{Proxy, start_with},
    run,
};

const IDENTITIES: &str = r#"
apiVersion: kuma.io/v1alpha1
kind: MeshIdentity
metadata: {name: all, namespace: kuma-system, labels: {kuma.io/mesh: default}}
spec:
  selector: {dataplane: {}}
  spiffeID: {trustDomain: example.com, path: "/all/{{ label \"team\" }}"}
---
type: MeshIdentity
mesh: default
name: workload-identity
spec:
  selector: {dataplane: {matchLabels: {kuma.io/workload: web}}}
  spiffeID: {trustDomain: example.com, path: "/workload/{{ .Workload }}"}
  provider: {type: Bundled, bundled: {insecureAllowSelfSigned: true, autogenerate: {enabled: true}}}
"#;

#[tokio::test]
async fn identities_are_applied_listed_and_deleted_and_give_dataplanes_their_ids() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identities.yaml");
    fs::write(&file, IDENTITIES).unwrap();
    let (app, server) = start_with(Some(directory.path().join("data"))).await;
    let apply = format!("apply -f {} {server}", file.display());
    let applied = run(&apply).await;
    assert_eq!((applied.result.unwrap(), &*applied.err), (Outcome::Success, ""));
    assert_eq!(applied.out, "meshidentity all created\nmeshidentity workload-identity created\n");
    let again = run(&apply).await.out;
    assert_eq!(again, "meshidentity all unchanged\nmeshidentity workload-identity unchanged\n");

    let table = run(&format!("get meshidentities -A -o wide {server}")).await.out;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{table}");
    assert_eq!(rows[1][..5], ["default", "workload-identity", "default", "False", "Failure"]);
    assert_eq!(rows[2][..5], ["kuma-system", "all", "default", "False", "PartiallyReady"]);
    let yaml = run(&format!("get meshidentity all -n kuma-system -o yaml {server}")).await.out;
    fs::write(&file, &yaml).unwrap();
    let round_trip = run(&apply).await.out;
    assert_eq!(round_trip, "meshidentity all unchanged\n", "{yaml}");

    let _proxy = Proxy::connect(&app, "web-1").await;
    run(&format!("wait workload web --healthy 1 {server}")).await.result.unwrap();
    let wide = run(&format!("get dataplanes -o wide {server}")).await.out;
    assert!(wide.lines().nth(1).unwrap().ends_with("spiffe://example.com/workload/web"), "{wide}");
    let deleted = run(&format!("delete meshidentity workload-identity {server}")).await;
    assert_eq!(deleted.out, "meshidentity workload-identity deleted\n");
    let yaml = run(&format!("get dataplane web-1 -o yaml {server}")).await.out;
    let problem =
        "identityProblem: \"MeshIdentity 'all' gives the dataplane no SPIFFE ID: label team not found\"";
    assert!(yaml.contains(problem) && !yaml.contains("spiffeID"), "{yaml}");
    let missing = run(&format!("delete meshidentity workload-identity {server}")).await;
    assert_eq!(missing.result.unwrap(), Outcome::Negative);
    assert_eq!(missing.err, "meshidentity \"workload-identity\" not found in namespace default\n");
    app.drain().await;
}

#[tokio::test]
async fn no_document_of_an_invalid_file_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identities.yaml");
    let (app, server) = start_with(None).await;
    let apply = format!("apply -f {} {server}", file.display());
    let invalid = IDENTITIES.replace("/workload/{{ .Workload }}", "/{{ .Nope }}").replace("Bundled", "Vault");
    fs::write(&file, invalid).unwrap();
    let failure = run(&apply).await.failure();
    assert!(
        failure.contains("identities.yaml: document 2:\n  spec.spiffeID.path: couldn't parse template"),
        "{failure}"
    );
    assert!(failure.contains("\n  spec.provider.type: in body should be one of"), "{failure}");
    let inline = "type: MeshIdentity\nmesh: default\nname: x\nspec: {provider: {type: Bundled, bundled: {ca: {certificate: \
                  {type: File, file: {path: /ca.crt}}, privateKey: {type: InsecureInline, insecureInline: {value: secret}}}}}}";
    fs::write(&file, format!("{IDENTITIES}---\n{inline}")).unwrap();
    let failure = run(&apply).await.failure();
    assert!(
        failure.contains("privateKey.insecureInline: is not accepted") && !failure.contains("secret"),
        "{failure}"
    );
    let none = run(&format!("get meshidentities -A {server}")).await;
    assert_eq!(none.err, "No meshidentities found.\n");

    fs::write(&file, IDENTITIES.replace("insecureAllowSelfSigned", "insecureAllowSelfsigned")).unwrap();
    let applied = run(&apply).await;
    assert!(
        applied
            .err
            .starts_with("warning: meshidentity workload-identity: spec.provider.bundled.insecureAllow")
    );
    assert!(applied.err.contains("(--data-dir): it does not have these resources after its next start"));
    for (text, problem) in [("", "is empty"), ("a: [", "is not YAML"), ("5", "must be a map")] {
        fs::write(&file, text).unwrap();
        let failure = run(&apply).await.failure();
        assert!(failure.contains(problem), "{failure}");
    }
    app.drain().await;
}
