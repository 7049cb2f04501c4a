//! Invalid filters and tokens. The server rejects forged tokens; an expired resume token gets a new
//! snapshot, an expired page token `ABORTED`.

use headcount::proto::{ListDataplanesRequest, ListWorkloadsRequest, WatchWorkloadsRequest, WorkloadFilter};
use tonic::{Code, Status};

use crate::{
    support::{Server, assert_status, dataplane, in_time, still_serves},
    watcher::Watcher,
};

async fn rejected_watch(server: &Server, filter: WorkloadFilter, token: &str) -> Status {
    let request = WatchWorkloadsRequest {
        filter: Some(filter),
        resume_token: token.into(),
        ..WatchWorkloadsRequest::default()
    };
    let watch = in_time("a response", server.workloads().watch_workloads(request)).await;
    watch.expect_err("a rejection")
}

async fn rejected_list(server: &Server, filter: WorkloadFilter, token: &str) -> Status {
    let request = ListWorkloadsRequest { filter: Some(filter), page_size: 1, page_token: token.into() };
    let list = in_time("a response", server.workloads().list_workloads(request)).await;
    list.expect_err("a rejection")
}

fn of_mesh(mesh: &str) -> WorkloadFilter {
    WorkloadFilter { mesh: mesh.into(), ..WorkloadFilter::default() }
}

#[tokio::test]
async fn an_invalid_filter_is_rejected() {
    let server = Server::start().await;
    let selector = |text: &str| WorkloadFilter { label_selector: text.into(), ..WorkloadFilter::default() };
    let field = "filter.label_selector: ";
    let long = format!("k in ({})", "v,".repeat(2_100));
    // Quoted as a whole in the status, the escaped text would exceed a client's limit for headers.
    let unprintable = format!("a={}", "\u{7f}".repeat(4_000));
    for (filter, parts) in [
        (selector("a>1"), [field, "unknown operator; use ="]),
        (selector("a in (b"), [field, "never closed"]),
        (selector("a near (b)"), [field, "expected `key in (a,b)`"]),
        (selector("a=b,,c"), [field, "remove the extra comma"]),
        (selector("=b"), [field, "key"]),
        (selector(&long), [field, "at most 4096"]),
        (selector(&unprintable), [field, "may not contain"]),
        (of_mesh("My Mesh"), ["filter.mesh: ", "DNS-1123 label"]),
        (
            WorkloadFilter { namespace: "-".into(), ..WorkloadFilter::default() },
            ["filter.namespace: ", "DNS-1123 label"],
        ),
        (
            WorkloadFilter { name: "Web".into(), ..WorkloadFilter::default() },
            ["filter.name: ", "DNS-1123 subdomain"],
        ),
    ] {
        let status = rejected_watch(&server, filter.clone(), "").await;
        assert_status(&status, Code::InvalidArgument, &parts);
        let status = rejected_list(&server, filter, "").await;
        assert_status(&status, Code::InvalidArgument, &parts);
        still_serves(&server).await;
    }
}

/// Splits a resume token into version, epoch, revision and filter.
fn split_token(token: &str) -> [&str; 4] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().expect("four parts")
}

#[tokio::test]
async fn a_forged_resume_token_is_rejected() {
    let server = Server::start().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    let real = server.list().await.resume_token;
    let [version, epoch, revision, filter] = split_token(&real);
    for (forged, part) in [
        ("garbage".into(), "is not a token"),
        ("\u{1f600}...".into(), "is not a token"),
        (format!("{version}.{epoch}.{revision}"), "is not a token"),
        (format!("{real}.more"), "is not a token"),
        (format!("r2.{epoch}.{revision}.{filter}"), "is not a token"),
        (format!("{version}.{epoch}.-1.{filter}"), "is not a token"),
        (format!("{version}.{epoch}.{revision}.zz"), "is not a token"),
        (format!("{version}.{epoch}.999.{filter}"), "has not reached"),
        (format!("{version}.{epoch}.{}.{filter}", u64::MAX), "has not reached"),
    ] {
        let status = rejected_watch(&server, WorkloadFilter::default(), &forged).await;
        let parts = ["resume_token: ", part, "leave it empty to start afresh"];
        assert_status(&status, Code::InvalidArgument, &parts);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_token_of_another_server_instance_or_filter_gets_a_snapshot() {
    let (server, other) = (Server::start().await, Server::start().await);
    let _web = server.proxy(dataplane("a", "web")).await;
    let all = WorkloadFilter::default();
    for (filter, token) in [
        (all.clone(), other.list().await.resume_token),
        (of_mesh("default"), server.list().await.resume_token),
    ] {
        let mut watcher = Watcher::open(server.workloads(), filter, &token).await;
        let first = watcher.next().await;
        assert!(first.reset && first.synced, "{first:?}");
        assert_eq!(watcher.workloads(), server.list().await.workloads);
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_token_older_than_the_change_log_gets_a_snapshot() {
    let server = Server::with(|config| config.registry.log_capacity = 4).await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let token = server.list().await.resume_token;
    for _ in 0..2 {
        web.ready().await;
        web.not_ready().await;
    }
    let watcher = server.watch_from(WorkloadFilter::default(), &token).await;
    assert_eq!(watcher.messages, 1, "the log still has the four changes");
    web.ready().await;
    let mut watcher = Watcher::open(server.workloads(), WorkloadFilter::default(), &token).await;
    let first = watcher.next().await;
    assert!(first.reset && first.synced, "{first:?}");
    assert_eq!(watcher.counts("web"), (1, 1, 1));
}

#[tokio::test]
async fn a_forged_page_token_is_rejected_and_an_expired_one_is_aborted() {
    let server = Server::with(|config| config.registry.log_capacity = 4).await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let _api = server.proxy(dataplane("b", "api")).await;
    let all = WorkloadFilter::default();
    let first = ListWorkloadsRequest { page_size: 1, ..ListWorkloadsRequest::default() };
    let first = server.workloads().list_workloads(first).await.unwrap().into_inner();
    let real = first.next_page_token;
    let other_filter = rejected_list(&server, of_mesh("default"), &real).await;
    let parts = ["page_token: ", "another filter", "leave it empty"];
    assert_status(&other_filter, Code::InvalidArgument, &parts);

    let revision = format!(".{}.", first.revision);
    for forged in [
        "garbage".to_owned(),
        real.replacen("p1", "r1", 1),
        real.replace(".default.api", ""),
        real.replace(".api", ".A B"),
        real.replacen(&revision, ".x.", 1),
        real.replacen(&revision, ".999.", 1),
    ] {
        assert_ne!(forged, real);
        let status = rejected_list(&server, all.clone(), &forged).await;
        let parts = ["page_token: ", "leave it empty for the first page"];
        assert_status(&status, Code::InvalidArgument, &parts);
    }

    let epoch = server.app.registry().epoch();
    let of_another_instance = real.replacen(epoch, "0123456789abcdef", 1);
    let status = rejected_list(&server, all.clone(), &of_another_instance).await;
    assert_status(&status, Code::Aborted, &["page_token: ", "list again from the first page"]);

    for _ in 0..3 {
        web.ready().await;
        web.not_ready().await;
    }
    let status = rejected_list(&server, all, &real).await;
    let parts = ["page_token: ", "too much has changed", "list again from the first page"];
    assert_status(&status, Code::Aborted, &parts);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_forged_page_token_of_list_dataplanes_is_rejected() {
    let server = Server::start().await;
    for forged in ["garbage", "default/web-1", "A/b/c", "a/b/c/d", "//"] {
        let request = ListDataplanesRequest { page_token: forged.into(), ..ListDataplanesRequest::default() };
        let status = server.dataplanes().list_dataplanes(request).await.unwrap_err();
        let parts = ["page_token: ", "leave it empty for the first page"];
        assert_status(&status, Code::InvalidArgument, &parts);
    }
    still_serves(&server).await;
}
