//! Tables, which kubectl prints.

use serde_json::{Value, json};

use crate::support::{IN_DEFAULT, Server, TABLE, WORKLOADS};

fn columns(table: &Value, priority: u64) -> Vec<&str> {
    let columns = table["columnDefinitions"].as_array().expect("columns");
    let wanted = columns.iter().filter(|column| column["priority"] == priority);
    wanted.map(|column| column["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_row_has_a_cell_for_each_column_and_the_metadata_of_its_object() {
    let server = Server::start().await;
    let _proxies = [server.join("api", 1), server.join("web", 1), server.join("web", 2)];
    let response = server.get_as(&format!("{IN_DEFAULT}?limit=500"), TABLE).await;
    assert_eq!(response.header("content-type"), "application/json");
    let table = response.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["metadata"]["resourceVersion"], server.head().to_string());
    assert_eq!(columns(&table, 0), ["Name", "Mesh", "Connected", "Healthy", "Total", "Age"]);
    assert_eq!(columns(&table, 1), ["Zone", "Revision", "Last-Change", "UID"]);
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[1]["cells"].as_array().unwrap()[..5],
        [json!("web"), json!("default"), json!(2), json!(0), json!(2)]
    );
    assert_eq!(rows[1]["cells"].as_array().unwrap().len(), 10);
    let age = rows[1]["cells"][5].as_str().unwrap();
    assert!(age.ends_with('s'), "{age}");
    let object = &rows[1]["object"];
    assert_eq!(
        (&object["kind"], &object["apiVersion"]),
        (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(object["metadata"]["namespace"], "default", "for `-A`");
    assert_eq!(object["metadata"]["labels"]["kuma.io/mesh"], "default", "for `--show-labels`");
    assert!(object["status"].is_null());
}

#[tokio::test]
async fn a_single_object_is_a_table_with_one_row() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let table = server.get_as(&format!("{IN_DEFAULT}/web"), TABLE).await.ok();
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    assert_eq!(table["rows"][0]["cells"][0], "web");
    assert_eq!(table["metadata"]["resourceVersion"], server.head().to_string());
}

#[tokio::test]
async fn rows_contain_the_requested_part_of_their_objects() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    for (include, has) in [
        ("None", json!(null)),
        ("Metadata", json!("PartialObjectMetadata")),
        ("", json!("PartialObjectMetadata")),
        ("Object", json!("Workload")),
    ] {
        for path in [WORKLOADS.to_owned(), format!("{IN_DEFAULT}/web")] {
            let table = server.get_as(&format!("{path}?includeObject={include}"), TABLE).await.ok();
            assert_eq!(table["rows"][0]["object"]["kind"], has, "{path} {include}");
        }
    }
    let whole = server.get_as(&format!("{WORKLOADS}?includeObject=Object"), TABLE).await.ok();
    assert_eq!(whole["rows"][0]["object"]["status"]["dataplaneProxies"]["total"], 1, "for `--sort-by`");
    let bad = server.get_as(&format!("{WORKLOADS}?includeObject=All"), TABLE).await;
    bad.assert_status(400, "BadRequest", &["includeObject", "None, Metadata or Object"]);
}

#[tokio::test]
async fn the_first_supported_representation_is_selected() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    for (accept, kind, api_version) in [
        (
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            "Table",
            "meta.k8s.io/v1beta1",
        ),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "WorkloadList", "kuma.io/v1alpha1"),
        ("application/json", "WorkloadList", "kuma.io/v1alpha1"),
        ("application/vnd.kubernetes.protobuf,application/json", "WorkloadList", "kuma.io/v1alpha1"),
        ("*/*", "WorkloadList", "kuma.io/v1alpha1"),
        (
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
        ),
    ] {
        let list = server.get_as(WORKLOADS, accept).await.ok();
        assert_eq!((&list["kind"], &list["apiVersion"]), (&json!(kind), &json!(api_version)), "{accept}");
    }
    for unsupported in [
        "application/json;as=Table;v=v9;g=meta.k8s.io",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
    ] {
        for path in [WORKLOADS.to_owned(), format!("{IN_DEFAULT}/web"), format!("{WORKLOADS}?watch=true")] {
            server.get_as(&path, unsupported).await.assert_status(
                406,
                "NotAcceptable",
                &["application/json"],
            );
        }
    }
}

#[tokio::test]
async fn only_the_first_table_of_a_watch_has_columns() {
    let server = Server::start().await;
    let _first = server.join("web", 1);
    let mut watch = server.watch_as(&format!("{IN_DEFAULT}?watch=true"), TABLE).await;
    let first = watch.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(columns(&first["object"], 0).len(), 6);
    let _second = server.join("web", 2);
    let second = watch.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], json!(null));
    assert_eq!(second["object"]["rows"][0]["cells"][4], 2);
    assert_eq!(second["object"]["metadata"]["resourceVersion"], server.head().to_string());
}

/// Watches share the encoded bytes only if they have the same representation.
#[tokio::test]
async fn watches_at_the_same_revision_have_their_own_representations() {
    let server = Server::start().await;
    let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let path = format!("{IN_DEFAULT}?watch=true&resourceVersion={}", server.head());
    let objects = format!("{path}&includeObject=Object");
    let requests = [
        (&path, "application/json", "Workload"),
        (&path, TABLE, "Table"),
        (&path, TABLE, "Table"),
        (&objects, TABLE, "Table"),
        (&path, metadata, "PartialObjectMetadata"),
        (&path, "application/json", "Workload"),
    ];
    let mut watches = Vec::new();
    for (path, accept, kind) in requests {
        watches.push((server.watch_as(path, accept).await, kind));
    }
    let mut proxies = Vec::new();
    for number in 1..4 {
        proxies.push(server.join("web", number));
        for (watch, kind) in &mut watches {
            let event = watch.next().await.unwrap();
            assert_eq!(event["object"]["kind"], *kind);
            assert_eq!(event["object"]["metadata"]["resourceVersion"], server.head().to_string());
            if *kind == "Table" {
                assert_eq!(
                    event["object"]["columnDefinitions"].is_null(),
                    number > 1,
                    "each watch gets the columns once"
                );
            }
        }
    }
    let late = server.watch_as(&format!("{path}&includeObject=Object"), TABLE).await.next().await.unwrap();
    assert_eq!(late["object"]["rows"][0]["object"]["kind"], "Workload");
}

#[tokio::test]
async fn a_failure_is_a_status_and_not_a_table() {
    let server = Server::start().await;
    server.get_as(&format!("{IN_DEFAULT}/nope"), TABLE).await.assert_status(404, "NotFound", &["nope"]);
    let mut watch = server.watch_as(&format!("{WORKLOADS}?watch=true&resourceVersion=1"), TABLE).await;
    let error = watch.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["kind"]), (&json!("ERROR"), &json!("Status")));
}
