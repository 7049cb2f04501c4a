//! What a caller without a credential, or with a token for one dataplane, can read: nothing.

use headcount::proto::{
    CreateBackupRequest, ListDataplanesRequest, ListEventsRequest, ListWorkloadsRequest, WatchEventsRequest,
    WatchWorkloadsRequest, backup_service_client::BackupServiceClient,
    dataplane_service_client::DataplaneServiceClient, event_service_client::EventServiceClient,
    workload_service_client::WorkloadServiceClient,
};

use super::{UNREFUSED, attackers};
use crate::{
    secured::Secured,
    support::{dataplane, hello},
};

#[tokio::test]
async fn nothing_is_read_over_grpc_by_callers_that_are_no_viewers() {
    let secured = Secured::start(&["grpc"], "").await;
    for (caller, code) in attackers(&secured).await {
        let mut workloads = WorkloadServiceClient::new(caller.channel.clone());
        let mut events = EventServiceClient::new(caller.channel.clone());
        let mut dataplanes = DataplaneServiceClient::new(caller.channel.clone());
        let mut backups = BackupServiceClient::new(caller.channel.clone());
        let refused = [
            workloads.list_workloads(caller.request(ListWorkloadsRequest::default())).await.err(),
            workloads.watch_workloads(caller.request(WatchWorkloadsRequest::default())).await.err(),
            events.list_events(caller.request(ListEventsRequest::default())).await.err(),
            events.watch_events(caller.request(WatchEventsRequest::default())).await.err(),
            dataplanes.list_dataplanes(caller.request(ListDataplanesRequest::default())).await.err(),
            backups.create_backup(caller.request(CreateBackupRequest::default())).await.err(),
        ];
        for refused in refused {
            assert_eq!(refused.expect(UNREFUSED).code(), code);
        }
    }
    assert_eq!(secured.server.metric("headcount_watchers").await, Some(0));
}

/// Paths of the Kubernetes API with what the server knows about others.
const OBJECTS: [&str; 6] = [
    "/apis/kuma.io/v1alpha1/workloads",
    "/apis/kuma.io/v1alpha1/workloads?watch=true",
    "/apis/kuma.io/v1alpha1/namespaces/default/workloads",
    "/apis/kuma.io/v1alpha1/namespaces/default/workloads/secret",
    "/api/v1/events",
    "/api/v1/namespaces/default/events?watch=true",
];
/// Its paths with its own schema, which also the holder of a token reads.
const SCHEMA: [&str; 7] =
    ["/", "/api", "/apis", "/apis/kuma.io/v1alpha1", "/openapi/v2", "/openapi/v3", "/version"];

#[tokio::test]
async fn nothing_is_read_over_http_and_kubernetes_by_callers_that_are_no_viewers() {
    let secured = Secured::start(&["grpc", "http", "kube"], "").await;
    let (server, client) = (&secured.server, secured.client(None));
    let secret = secured.holder("secret").await;
    let _session = secret.open([hello(dataplane("default", "secret", "secret"))]).await.expect("a welcome");
    let token = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let mallory = token(&secured.token_for("mallory").await);
    let nonsense = token("nonsense");
    let objects = OBJECTS.map(|path| (server.kube, path, 403));
    let schema = SCHEMA.map(|path| (server.kube, path, 200));
    let paths = [(server.http, "/metrics", 403), (server.http, "/no-such-path", 404)];
    for (address, path, of_holder) in paths.into_iter().chain(objects).chain(schema) {
        for (credential, status) in [("", 401), (&*nonsense, 401), (&*mallory, of_holder)] {
            let response = client.get(address, path, credential).await;
            assert_eq!(response.status, status, "{path}: {response:?}");
            let named = response.body.contains("secret") && !path.contains("secret");
            assert!(
                !named && !response.body.contains("\"status\":{\"dataplaneProxies"),
                "{path}: {response:?}"
            );
        }
    }
    // With the right credential, the same requests read it.
    let viewer = token(&secured.token("user-token", "--name alice --group ops").await);
    for (address, path) in [(server.http, "/metrics"), (server.kube, OBJECTS[0]), (server.kube, OBJECTS[3])] {
        let response = client.get(address, path, &viewer).await;
        assert!(response.status == 200 && response.body.contains("secret"), "{path}: {response:?}");
    }
}
