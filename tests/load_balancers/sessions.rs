//! Sessions and watches through a balancer: every change arrives as it does without one.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    IMMEDIATE,
    fixture::{Fixture, WORKLOAD, wait_for_printed, with_each_balancer},
    support::{Application, Signal, Watch, replace, service},
};

#[tokio::test]
async fn agents_register_change_their_health_and_leave_and_watches_deliver_it() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let agents = fixture.agents(3).await;
        let application = Application::start(fixture.server.site.any_port());
        let dataplane = service("web-app", application.address(), "http: {path: /healthz}");
        let dataplane =
            replace(&dataplane, "kuma.io/workload: demo-workload", &format!("kuma.io/workload: {WORKLOAD}"));
        let file = fixture.server.site.file("web-app.yaml", &dataplane);
        let mut watch = Watch::open(fixture.connect().await, WORKLOAD).await;
        let reader = fixture.client("get workloads -w -o json");
        let _app = fixture.client(&format!("agent --dataplane-file {}", file.display()));
        fixture.expect("registered", &mut watch, [4, 4, 4], IMMEDIATE).await;

        application.answer_with(503);
        fixture.expect("an application fails", &mut watch, [4, 3, 4], IMMEDIATE).await;
        application.answer_with(200);
        fixture.expect("it recovers", &mut watch, [4, 4, 4], IMMEDIATE).await;
        agents[0].signal(Signal::KILL);
        fixture.expect("an agent is killed", &mut watch, [3, 3, 4], IMMEDIATE).await;
        agents[1].signal(Signal::TERM);
        fixture.expect("an agent says goodbye", &mut watch, [2, 2, 3], IMMEDIATE).await;
        wait_for_printed(&reader, [2, 2, 3]).await;

        let wait = fixture.client("wait workload web --healthy 2 --timeout 5s");
        wait.end().await.expect_exit(0);
        let table = fixture.client("get dataplanes").end().await.expect_exit(0).out;
        assert_eq!(table.lines().count(), 1 + 3, "{kind:?}: {table}");
        let request = HealthCheckRequest { service: String::new() };
        let status = HealthClient::new(fixture.connect().await).check(request).await.unwrap().into_inner();
        assert_eq!(status.status(), ServingStatus::Serving, "{kind:?}");
    })
    .await;
}
