//! Filters that can't be read, and tokens: forged ones are refused, old ones
//! are answered with a fresh start.

use headcount::proto::{ListDataplanesRequest, ListWorkloadsRequest, WatchWorkloadsRequest, WorkloadFilter};
use tonic::{Code, Status};

use crate::{
    fold::Fold,
    support::{Server, assert_says, dataplane, soon, still_serves},
};

async fn watch_refused(server: &Server, filter: WorkloadFilter, token: &str) -> Status {
    let request = WatchWorkloadsRequest { filter: Some(filter), resume_token: token.into() };
    let watch = soon("a refusal", server.workloads().watch_workloads(request)).await;
    watch.expect_err("a refusal")
}

async fn list_refused(server: &Server, filter: WorkloadFilter, token: &str) -> Status {
    let request = ListWorkloadsRequest { filter: Some(filter), page_size: 1, page_token: token.into() };
    let list = soon("a refusal", server.workloads().list_workloads(request)).await;
    list.expect_err("a refusal")
}

fn of_mesh(mesh: &str) -> WorkloadFilter {
    WorkloadFilter { mesh: mesh.into(), ..WorkloadFilter::default() }
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_is_refused() {
    let server = Server::start().await;
    let selector = |text: &str| WorkloadFilter { label_selector: text.into(), ..WorkloadFilter::default() };
    let place = "filter.label_selector: ";
    let long = format!("k in ({})", "v,".repeat(2_100));
    // Escaped and quoted as a whole it would be larger than a client's headers may be.
    let strange = format!("a={}", "\u{7f}".repeat(4_000));
    for (filter, words) in [
        (selector("a>1"), [place, "unknown operator; use ="]),
        (selector("a in (b"), [place, "never closed"]),
        (selector("a near (b)"), [place, "expected `key in (a,b)`"]),
        (selector("a=b,,c"), [place, "remove the extra comma"]),
        (selector("=b"), [place, "key"]),
        (selector(&long), [place, "at most 4096"]),
        (selector(&strange), [place, "may not contain"]),
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
        let status = watch_refused(&server, filter.clone(), "").await;
        assert_says(&status, Code::InvalidArgument, &words);
        let status = list_refused(&server, filter, "").await;
        assert_says(&status, Code::InvalidArgument, &words);
        still_serves(&server).await;
    }
}

/// Version, epoch, revision, filter.
fn parts(token: &str) -> [&str; 4] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().expect("four parts")
}

#[tokio::test]
async fn a_forged_resume_token_is_refused() {
    let server = Server::start().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    let real = server.list().await.resume_token;
    let [version, epoch, revision, filter] = parts(&real);
    for (forged, word) in [
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
        let status = watch_refused(&server, WorkloadFilter::default(), &forged).await;
        let words = ["resume_token: ", word, "leave it empty to start afresh"];
        assert_says(&status, Code::InvalidArgument, &words);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_token_of_another_life_or_filter_is_answered_with_a_snapshot() {
    let (server, other) = (Server::start().await, Server::start().await);
    let _web = server.proxy(dataplane("a", "web")).await;
    let all = WorkloadFilter::default();
    for (filter, token) in [
        (all.clone(), other.list().await.resume_token),
        (of_mesh("default"), server.list().await.resume_token),
    ] {
        let mut fold = Fold::open(server.workloads(), filter, &token).await;
        let first = fold.next().await;
        assert!(first.reset && first.synced, "{first:?}");
        assert_eq!(fold.workloads(), server.list().await.workloads);
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_token_that_fell_out_of_the_log_is_answered_with_a_snapshot() {
    let server = Server::with(|config| config.registry.log_capacity = 4).await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let token = server.list().await.resume_token;
    for _ in 0..2 {
        web.ready().await;
        web.not_ready().await;
    }
    let fold = server.watch_from(WorkloadFilter::default(), &token).await;
    assert_eq!(fold.messages, 1, "four changes are still there");
    web.ready().await;
    let mut fold = Fold::open(server.workloads(), WorkloadFilter::default(), &token).await;
    let first = fold.next().await;
    assert!(first.reset && first.synced, "{first:?}");
    assert_eq!(fold.counts("web"), (1, 1, 1));
}

#[tokio::test]
async fn page_tokens_are_refused_when_forged_and_aborted_when_old() {
    let server = Server::with(|config| config.registry.log_capacity = 4).await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let _api = server.proxy(dataplane("b", "api")).await;
    let all = WorkloadFilter::default();
    let first = ListWorkloadsRequest { page_size: 1, ..ListWorkloadsRequest::default() };
    let first = server.workloads().list_workloads(first).await.unwrap().into_inner();
    let real = first.next_page_token;
    let other_filter = list_refused(&server, of_mesh("default"), &real).await;
    let words = ["page_token: ", "another filter", "leave it empty"];
    assert_says(&other_filter, Code::InvalidArgument, &words);

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
        let status = list_refused(&server, all.clone(), &forged).await;
        let words = ["page_token: ", "leave it empty for the first page"];
        assert_says(&status, Code::InvalidArgument, &words);
    }

    let epoch = server.app.registry().epoch();
    let of_another_life = real.replacen(epoch, "0123456789abcdef", 1);
    let status = list_refused(&server, all.clone(), &of_another_life).await;
    assert_says(&status, Code::Aborted, &["page_token: ", "list again from the first page"]);

    for _ in 0..3 {
        web.ready().await;
        web.not_ready().await;
    }
    let status = list_refused(&server, all, &real).await;
    let words = ["page_token: ", "too much has changed", "list again from the first page"];
    assert_says(&status, Code::Aborted, &words);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_forged_page_token_of_dataplanes_is_refused() {
    let server = Server::start().await;
    for forged in ["garbage", "default/web-1", "A/b/c", "a/b/c/d", "//"] {
        let request = ListDataplanesRequest { page_token: forged.into(), ..ListDataplanesRequest::default() };
        let status = server.dataplanes().list_dataplanes(request).await.unwrap_err();
        let words = ["page_token: ", "leave it empty for the first page"];
        assert_says(&status, Code::InvalidArgument, &words);
    }
    still_serves(&server).await;
}
