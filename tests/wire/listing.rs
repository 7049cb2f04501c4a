//! Get and List.

use headcount::proto::{GetWorkloadRequest, ListDataplanesRequest, ListWorkloadsRequest, WorkloadFilter};
use tonic::Code;

use crate::{
    fold::Fold,
    support::{Server, assert_says, counts_of, dataplane, soon},
};

#[tokio::test]
async fn get_has_all_of_a_workload_at_a_revision() {
    let server = Server::start().await;
    let mut stated = dataplane("a", "web");
    stated.zone = "east".into();
    let mut proxy = server.proxy(stated).await;
    proxy.ready().await;
    let request = GetWorkloadRequest {
        name: "web".into(),
        ..GetWorkloadRequest::default()
    };
    let got = server
        .workloads()
        .get_workload(request)
        .await
        .unwrap()
        .into_inner();
    let web = got.workload.unwrap();
    assert_eq!((web.revision, got.revision), (2, 2));
    assert_eq!(
        (&*web.name, &*web.namespace, &*web.mesh),
        ("web", "default", "default")
    );
    let labels: Vec<_> = web.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let expected = [
        ("kuma.io/env", "universal"),
        ("kuma.io/managed-by", "workload-generator"),
        ("kuma.io/mesh", "default"),
        ("kuma.io/zone", "east"),
    ];
    assert_eq!(labels, expected);
    assert!(!web.uid.is_empty() && web.creation_time.is_some());
    assert_eq!(counts_of(&web), (1, 1, 1));
    assert_eq!(server.list().await.workloads[0], web, "one truth");

    // A new life has a new uid.
    proxy.goodbye().await;
    let _proxy = server.proxy(dataplane("a", "web")).await;
    assert_ne!(server.list().await.workloads[0].uid, web.uid);
}

#[tokio::test]
async fn get_says_what_is_not_found_and_what_is_wrong() {
    let server = Server::start().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    for (name, namespace, mesh, code, words) in [
        (
            "api",
            "",
            "",
            Code::NotFound,
            ["workload default/api not found", "no registered"],
        ),
        (
            "web",
            "shop",
            "",
            Code::NotFound,
            ["workload shop/web", "not found"],
        ),
        (
            "web",
            "",
            "other",
            Code::NotFound,
            ["default/web", "in mesh other"],
        ),
        ("", "", "", Code::InvalidArgument, ["name: ", "is required"]),
        (
            "Web",
            "",
            "",
            Code::InvalidArgument,
            ["name: ", "DNS-1123 subdomain"],
        ),
        (
            "web",
            "a.b",
            "",
            Code::InvalidArgument,
            ["namespace: ", "DNS-1123 label"],
        ),
        (
            "web",
            "",
            "M",
            Code::InvalidArgument,
            ["mesh: ", "DNS-1123 label"],
        ),
    ] {
        let request = GetWorkloadRequest {
            name: name.into(),
            namespace: namespace.into(),
            mesh: mesh.into(),
        };
        let status = server.workloads().get_workload(request).await.unwrap_err();
        assert_says(&status, code, &words);
    }
}

#[tokio::test]
async fn all_pages_show_the_revision_of_the_first() {
    let server = Server::start().await;
    let mut proxies = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        proxies.push(server.proxy(dataplane(name, name)).await);
    }
    let before = server.list().await;
    let mut request = ListWorkloadsRequest {
        page_size: 2,
        ..ListWorkloadsRequest::default()
    };
    let mut pages = Vec::new();
    loop {
        let listed = soon("a page", server.workloads().list_workloads(request.clone())).await;
        let page = listed.unwrap().into_inner();
        assert_eq!(page.revision, before.revision);
        assert_eq!(page.resume_token, before.resume_token);
        assert!(page.workloads.len() <= 2);
        pages.extend(page.workloads);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // One changes, one goes, one comes, between any two pages.
        proxies.last_mut().unwrap().ready().await;
        proxies.remove(0).goodbye().await;
        let name = format!("b{}", proxies.len());
        proxies.push(server.proxy(dataplane(&name, &name)).await);
    }
    assert_eq!(pages, before.workloads);
    let now = server.list().await;
    assert_ne!(now.workloads, before.workloads);

    // A watch goes on from the listing, and ends where a new listing is.
    let mut fold = Fold::open(
        server.workloads(),
        WorkloadFilter::default(),
        &before.resume_token,
    )
    .await;
    for workload in before.workloads {
        let key = (workload.namespace.clone(), workload.name.clone());
        fold.state.insert(key, workload);
    }
    fold.until_revision(now.revision).await;
    assert_eq!(fold.workloads(), now.workloads);
}

#[tokio::test]
async fn a_listing_is_filtered() {
    let server = Server::start().await;
    let mut kept = Vec::new();
    for (mesh, namespace, workload) in [
        ("default", "shop", "web"),
        ("default", "bank", "api"),
        ("other", "bank", "web"),
    ] {
        let mut stated = dataplane("a", workload);
        (stated.mesh, stated.namespace) = (mesh.into(), namespace.into());
        kept.push(server.proxy(stated).await);
    }
    for (mesh, namespace, name, selector, expected) in [
        ("", "", "", "", &["bank/api", "bank/web", "shop/web"][..]),
        ("default", "", "", "", &["bank/api", "shop/web"]),
        ("", "bank", "", "", &["bank/api", "bank/web"]),
        ("", "", "web", "", &["bank/web", "shop/web"]),
        ("", "", "", "kuma.io/mesh!=default", &["bank/web"]),
        (
            "",
            "",
            "",
            "kuma.io/mesh in (default,x),kuma.io/env",
            &["bank/api", "shop/web"],
        ),
        ("", "", "", "!kuma.io/env", &[]),
        ("nobody", "", "", "", &[]),
    ] {
        let filter = WorkloadFilter {
            mesh: mesh.into(),
            namespace: namespace.into(),
            name: name.into(),
            label_selector: selector.into(),
        };
        let request = ListWorkloadsRequest {
            filter: Some(filter),
            ..ListWorkloadsRequest::default()
        };
        let listed = server
            .workloads()
            .list_workloads(request)
            .await
            .unwrap()
            .into_inner();
        let names: Vec<_> = listed
            .workloads
            .iter()
            .map(|w| format!("{}/{}", w.namespace, w.name))
            .collect();
        assert_eq!(names, expected, "{mesh} {namespace} {name} {selector}");
    }
}

#[tokio::test]
async fn dataplanes_are_listed_page_by_page() {
    let server = Server::start().await;
    let mut kept = Vec::new();
    for name in ["c", "a", "b"] {
        kept.push(server.proxy(dataplane(name, "web")).await);
    }
    let mut request = ListDataplanesRequest {
        page_size: 2,
        workload: "web".into(),
        ..ListDataplanesRequest::default()
    };
    let mut names = Vec::new();
    loop {
        let page = server.dataplanes().list_dataplanes(request.clone()).await;
        let page = page.unwrap().into_inner();
        names.extend(page.dataplanes.into_iter().map(|d| d.dataplane.unwrap().name));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c"]);
}
