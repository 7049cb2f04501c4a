//! `GetWorkload`, `ListWorkloads` and `ListDataplanes`.

use std::collections::BTreeMap;

use headcount::{
    model::WORKLOAD_LABEL,
    proto::{
        Dataplane, Environment, GetWorkloadRequest, Inbound, ListDataplanesRequest, ListWorkloadsRequest,
        WorkloadFilter,
    },
};
use prost::Message as _;
use tonic::Code;

use crate::{
    proxy::Proxy,
    support::{Server, assert_status, counts_of, dataplane, in_time},
    watcher::Watcher,
};

#[tokio::test]
async fn get_returns_a_workload_and_the_revision() {
    let server = Server::start().await;
    let mut of_zone = dataplane("a", "web");
    of_zone.zone = "east".into();
    let mut proxy = server.proxy(of_zone).await;
    proxy.ready().await;
    let request = GetWorkloadRequest { name: "web".into(), ..GetWorkloadRequest::default() };
    let got = server.workloads().get_workload(request).await.unwrap().into_inner();
    let web = got.workload.unwrap();
    assert_eq!((web.revision, got.revision), (2, 2));
    assert_eq!((&*web.name, &*web.namespace, &*web.mesh), ("web", "default", "default"));
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
    assert_eq!(server.list().await.workloads[0], web, "the list has the same Workload");

    // A Workload that is created again has a new uid.
    proxy.goodbye().await;
    let _proxy = server.proxy(dataplane("a", "web")).await;
    assert_ne!(server.list().await.workloads[0].uid, web.uid);
}

#[tokio::test]
async fn get_rejects_unknown_names_and_invalid_ones() {
    let server = Server::start().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    for (name, namespace, mesh, code, parts) in [
        ("api", "", "", Code::NotFound, ["workload default/api not found", "no registered"]),
        ("web", "shop", "", Code::NotFound, ["workload shop/web", "not found"]),
        ("web", "", "other", Code::NotFound, ["default/web", "in mesh other"]),
        ("", "", "", Code::InvalidArgument, ["name: ", "is required"]),
        ("Web", "", "", Code::InvalidArgument, ["name: ", "DNS-1123 subdomain"]),
        ("web", "a.b", "", Code::InvalidArgument, ["namespace: ", "DNS-1123 label"]),
        ("web", "", "M", Code::InvalidArgument, ["mesh: ", "DNS-1123 label"]),
    ] {
        let request =
            GetWorkloadRequest { name: name.into(), namespace: namespace.into(), mesh: mesh.into() };
        let status = server.workloads().get_workload(request).await.unwrap_err();
        assert_status(&status, code, &parts);
    }
}

#[tokio::test]
async fn all_pages_have_the_revision_of_the_first() {
    let server = Server::start().await;
    let mut proxies = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        proxies.push(server.proxy(dataplane(name, name)).await);
    }
    let before = server.list().await;
    let mut request = ListWorkloadsRequest { page_size: 2, ..ListWorkloadsRequest::default() };
    let mut pages = Vec::new();
    loop {
        let listed = in_time("a page", server.workloads().list_workloads(request.clone())).await;
        let page = listed.unwrap().into_inner();
        assert_eq!(page.revision, before.revision);
        assert_eq!(page.resume_token, before.resume_token);
        assert!(page.workloads.len() <= 2);
        pages.extend(page.workloads);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        // Between two pages one Workload changes, one is deleted, one is created.
        proxies.last_mut().unwrap().ready().await;
        proxies.remove(0).goodbye().await;
        let name = format!("b{}", proxies.len());
        proxies.push(server.proxy(dataplane(&name, &name)).await);
    }
    assert_eq!(pages, before.workloads);
    let now = server.list().await;
    assert_ne!(now.workloads, before.workloads);

    // A watch resumes from the first list, and delivers what a new list returns.
    let mut watcher =
        Watcher::open(server.workloads(), WorkloadFilter::default(), &before.resume_token).await;
    for workload in before.workloads {
        let key = (workload.namespace.clone(), workload.name.clone());
        watcher.state.insert(key, workload);
    }
    watcher.read_until_revision(now.revision).await;
    assert_eq!(watcher.workloads(), now.workloads);
}

#[tokio::test]
async fn list_applies_the_filter() {
    let server = Server::start().await;
    let mut proxies = Vec::new();
    for (mesh, namespace, workload) in
        [("default", "shop", "web"), ("default", "bank", "api"), ("other", "bank", "web")]
    {
        let mut dataplane = dataplane("a", workload);
        (dataplane.mesh, dataplane.namespace) = (mesh.into(), namespace.into());
        proxies.push(server.proxy(dataplane).await);
    }
    for (mesh, namespace, name, selector, expected) in [
        ("", "", "", "", &["bank/api", "bank/web", "shop/web"][..]),
        ("default", "", "", "", &["bank/api", "shop/web"]),
        ("", "bank", "", "", &["bank/api", "bank/web"]),
        ("", "", "web", "", &["bank/web", "shop/web"]),
        ("", "", "", "kuma.io/mesh!=default", &["bank/web"]),
        ("", "", "", "kuma.io/mesh in (default,x),kuma.io/env", &["bank/api", "shop/web"]),
        ("", "", "", "!kuma.io/env", &[]),
        ("nobody", "", "", "", &[]),
    ] {
        let filter = WorkloadFilter {
            mesh: mesh.into(),
            namespace: namespace.into(),
            name: name.into(),
            label_selector: selector.into(),
        };
        let request = ListWorkloadsRequest { filter: Some(filter), ..ListWorkloadsRequest::default() };
        let listed = server.workloads().list_workloads(request).await.unwrap().into_inner();
        let names: Vec<_> = listed.workloads.iter().map(|w| format!("{}/{}", w.namespace, w.name)).collect();
        assert_eq!(names, expected, "{mesh} {namespace} {name} {selector}");
    }
}

#[tokio::test]
async fn list_dataplanes_returns_pages_in_order() {
    let server = Server::start().await;
    let mut proxies = Vec::new();
    for name in ["c", "a", "b"] {
        proxies.push(server.proxy(dataplane(name, "web")).await);
    }
    let request =
        ListDataplanesRequest { page_size: 2, workload: "web".into(), ..ListDataplanesRequest::default() };
    let (dataplanes, pages) = list_dataplanes(&server, request).await;
    assert_eq!(dataplanes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(pages, 2);
}

/// Reads all pages; returns the dataplanes and the number of pages.
async fn list_dataplanes(server: &Server, mut request: ListDataplanesRequest) -> (Vec<Dataplane>, usize) {
    let (mut dataplanes, mut pages) = (Vec::new(), 0);
    loop {
        let page = in_time("a page", server.dataplanes().list_dataplanes(request.clone())).await;
        let page = page.expect("a page that the client accepts").into_inner();
        dataplanes.extend(page.dataplanes.into_iter().map(|overview| overview.dataplane.unwrap()));
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return (dataplanes, pages);
        }
    }
}

#[tokio::test]
async fn list_dataplanes_finds_the_dataplanes_of_one_name() {
    let server = Server::start().await;
    let mut proxies = Vec::new();
    for (mesh, namespace, name) in
        [("b", "x", "web-1"), ("a", "x", "web-1"), ("a", "y", "web-1"), ("a", "x", "web-2")]
    {
        let mut dataplane = dataplane(name, "web");
        (dataplane.mesh, dataplane.namespace) = (mesh.into(), namespace.into());
        proxies.push(server.proxy(dataplane).await);
    }
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        ("", "x", "web-1", &["a/x", "b/x"]),
        ("b", "x", "web-1", &["b/x"]),
        ("", "", "web-1", &["a/x", "a/y", "b/x"]),
        ("a", "", "web-1", &["a/x", "a/y"]),
        ("c", "x", "web-1", &[]),
        ("", "x", "web-3", &[]),
    ];
    for (mesh, namespace, name, expected) in cases {
        for page_size in [0, 1] {
            let (mesh, namespace, name) = (mesh.into(), namespace.into(), name.into());
            let request = ListDataplanesRequest {
                mesh,
                namespace,
                name,
                page_size,
                ..ListDataplanesRequest::default()
            };
            let (found, pages) = list_dataplanes(&server, request).await;
            let places: Vec<_> = found.iter().map(|it| format!("{}/{}", it.mesh, it.namespace)).collect();
            assert_eq!(places, expected);
            assert_eq!(pages, if page_size == 1 { expected.len().max(1) } else { 1 });
        }
    }
    let request = ListDataplanesRequest {
        namespace: "x".into(),
        name: "web-1".into(),
        workload: "api".into(),
        ..ListDataplanesRequest::default()
    };
    assert_eq!(list_dataplanes(&server, request).await.0, [], "the other filters apply too");
    let invalid = ListDataplanesRequest { name: "No".into(), ..ListDataplanesRequest::default() };
    let status = server.dataplanes().list_dataplanes(invalid).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, &["name: \"No\""]);
}

/// A dataplane with nearly the largest hello that is accepted, 64 KiB.
fn largest(name: &str) -> Dataplane {
    let text = |n: usize| format!("{n:063}");
    let tag = |n: usize| (format!("{n:0120}"), "x".repeat(120));
    let labels = (0..63).map(|n| (format!("{}.example/{}", text(n), text(n)), "x".repeat(63)));
    let inbound = |port: u32| Inbound { port, name: text(1), tags: (0..3).map(tag).collect() };
    Dataplane {
        labels: labels.collect(),
        inbounds: (1..=58).map(inbound).collect(),
        ..dataplane(name, "web")
    }
}

/// tonic's clients, like others, accept messages of at most 4 MiB.
#[tokio::test]
async fn pages_of_the_largest_dataplanes_fit_into_the_messages_that_clients_accept() {
    let server = Server::start().await;
    let size = largest("p").encoded_len();
    assert!((60_000..65_000).contains(&size), "{size}");
    let mut proxies = Vec::new();
    for n in 0..150 {
        proxies.push(Proxy::connect(server.channel(), largest(&format!("p{n:03}"))).await);
    }
    let request = ListDataplanesRequest { page_size: 1_000, ..ListDataplanesRequest::default() };
    let (dataplanes, pages) = list_dataplanes(&server, request).await;
    assert_eq!(pages, 3, "of 3 MiB each");
    let expected: Vec<_> = (0..150).map(|n| format!("p{n:03}")).collect();
    assert_eq!(dataplanes.iter().map(|it| it.name.clone()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_page_of_the_largest_workloads_fits_as_well() {
    let server = Server::start().await;
    let name = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
    let largest = Dataplane {
        mesh: "m".repeat(63),
        namespace: "n".repeat(63),
        zone: "z".repeat(63),
        environment: Environment::Kubernetes.into(),
        labels: BTreeMap::from([(WORKLOAD_LABEL.to_owned(), name)]),
        ..dataplane("p", "web")
    };
    let _proxy = server.proxy(largest).await;
    let listed = server.list().await;
    assert_eq!(listed.workloads.len(), 1);
    let page = 1_000 * listed.encoded_len();
    assert!(page < 3 * 1024 * 1024, "{page}");
}
