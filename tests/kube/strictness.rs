//! Requests that clients do not send, with the status codes of kube-apiserver 1.36.3 for the same
//! requests to a resource of its own.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{IN_DEFAULT, Server, soon};

/// Sends a request on a new connection, and returns the status code and the response. Of a watch it reads
/// the first event.
async fn send(server: &Server, request_line: &str, headers: &str) -> (u16, String) {
    let mut io = TcpStream::connect(server.addr()).await.unwrap();
    let request = format!("{request_line}\r\n{headers}Connection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&received).contains("ADDED")
            && io.read_buf(&mut received).await.unwrap_or(0) > 0
        {}
    };
    soon(request_line, read).await;
    let text = String::from_utf8_lossy(&received).into_owned();
    let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or_else(|| panic!("{request_line}: {text:?}")), text)
}

const HOST: &str = "Host: localhost\r\n";

#[tokio::test]
async fn paths_are_read_as_kube_apiserver_reads_them() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let namespaces = IN_DEFAULT.strip_suffix("/default/workloads").unwrap();
    for (path, code, part) in [
        ("/default/workloads/web", 200, r#""name":"web""#),
        ("/default/workloads/w%65b", 200, r#""name":"web""#),
        ("/default%2fworkloads", 200, "WorkloadList"),
        ("/default/workload%73", 200, "WorkloadList"),
        ("/de%66ault/workloads", 200, r#""name":"web""#),
        ("/default/workloads/", 200, "WorkloadList"),
        ("/a%00b/workloads", 200, r#""items":[]"#),
        ("/DEFAULT/workloads", 200, r#""items":[]"#),
        ("/a%2fb/workloads", 404, ""),
        ("/default/workloads/a%2fb", 404, ""),
        ("/default/workloads/web/more", 404, ""),
        ("/./default/workloads", 404, ""),
        ("//default/workloads", 404, ""),
        ("/default/workloads%3Flimit=1", 404, ""),
        ("/default/workloads;x=y", 404, ""),
        ("/default/workloads/a%00b", 404, r#""reason":"NotFound""#),
        ("/default/workloads/%ff", 404, r#""reason":"NotFound""#),
        ("/default/workloads/a%20b", 404, r#""reason":"NotFound""#),
        ("/default/workloads/A", 404, r#""reason":"NotFound""#),
        ("/default/workloads/.", 400, "may not be '.'"),
        ("/default/workloads/%2e%2e", 400, r#"Name parameter invalid: \"..\": may not be '..'"#),
        ("/default/workloads/a%25b", 400, "may not contain '%'"),
        ("/default/workloads/%zz", 400, "400 Bad Request"),
        ("/default/workloads/a b", 400, ""),
    ] {
        let (got, text) = send(&server, &format!("GET {namespaces}{path} HTTP/1.1"), HOST).await;
        assert_eq!(got, code, "{path}: {text}");
        assert!(text.contains(part), "{path}: {part:?} is not in {text}");
    }
}

#[tokio::test]
async fn parameters_are_read_as_kube_apiserver_reads_them() {
    let server = Server::start().await;
    let _proxies = [server.join("api", 1), server.join("web", 1)];
    let (list, watch) = ("WorkloadList", r#"{"type":"ADDED""#);
    for (query, code, part) in [
        ("watch=maybe", 200, watch),
        ("watch=F", 200, watch),
        ("watch=", 200, watch),
        ("watch", 200, watch),
        ("watch=true&watch=false", 200, watch),
        ("watch=false&watch=true", 200, list),
        ("watch=False", 200, list),
        ("watch=0", 200, list),
        ("watch=1&timeoutSeconds=-1&fieldSelector=metadata.name%3Dx", 200, "\r\n\r\n0\r\n"),
        ("watch=1&timeoutSeconds=x", 400, "timeoutSeconds"),
        ("allowWatchBookmarks=maybe", 200, list),
        ("limit=1&limit=2", 200, r#""continue":""#),
        ("limit=2&limit=1", 200, r#""name":"web""#),
        ("limit=%31", 200, r#""continue":""#),
        ("limit=%2B1", 200, r#""continue":""#),
        ("limit=-1", 200, r#""name":"web""#),
        ("limit=1&limit=x", 200, list),
        ("limit=x&limit=1", 400, "limit"),
        ("limit=", 400, "limit"),
        ("limit=1.5", 400, "limit"),
        ("limit=+1", 400, "limit"),
        ("limit=0x10", 400, "limit"),
        ("limit=99999999999999999999", 400, "limit"),
        ("%6cimit=x", 400, "limit"),
        ("resourceVersion=x", 400, "resourceVersion"),
        ("resourceVersion=-1", 400, "resourceVersion"),
        ("resourceVersion=", 200, list),
        ("labelSelector=a%3Db&labelSelector=%3D%3D", 200, r#""items":[]"#),
        ("fieldSelector=metadata.name%3Dapi&fieldSelector=zz", 200, r#""name":"api""#),
        ("continue=x&continue=y", 400, "continue"),
        ("sendInitialEvents=maybe", 422, "sendInitialEvents"),
        ("resourceVersionMatch=zz", 422, "resourceVersionMatch"),
        ("unknown=1&unknown=2&a=%zz&b=1;c=2", 200, list),
    ] {
        let (got, text) = send(&server, &format!("GET {IN_DEFAULT}?{query} HTTP/1.1"), HOST).await;
        assert_eq!(got, code, "{query}: {text}");
        let body = text.split_once("\r\n\r\n").unwrap().1;
        assert!(
            text.contains(part) || body.starts_with(part.trim_start()),
            "{query}: {part:?} is not in {text}"
        );
    }
}

#[tokio::test]
async fn a_request_has_exactly_one_valid_host() {
    let server = Server::start().await;
    for (version, hosts, code) in [
        ("1.1", "Host: localhost\r\n", 200),
        ("1.1", "Host: localhost.\r\n", 200),
        ("1.0", "", 200),
        ("1.1", "", 400),
        ("1.1", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("1.1", "Host: localhost\r\nHost: other\r\n", 400),
        ("1.1", "Host: a b\r\n", 400),
        ("1.1", "Host: a/b\r\n", 400),
    ] {
        let (got, text) = send(&server, &format!("GET {IN_DEFAULT} HTTP/{version}"), hosts).await;
        assert_eq!(got, code, "{version} {hosts:?}: {text}");
    }
}
