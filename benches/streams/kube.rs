//! A client of the Kubernetes API that uses as little CPU as possible: of a watch it parses only the last
//! line.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Response,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

const WORKLOADS: &str = "/apis/kuma.io/v1alpha1/workloads";
/// Longest time for an expected line.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Watches that are opened at the same time.
const CONCURRENT: usize = 16;

/// The representation that a client requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As `kubectl get` requests it.
    Table,
    /// As a controller requests it.
    Json,
}

impl Form {
    fn accept(self) -> &'static str {
        match self {
            Self::Table => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            Self::Json => "application/json",
        }
    }
}

/// Lists all Workloads in one response.
pub(crate) async fn list(addr: SocketAddr, form: Form) -> anyhow::Result<Bytes> {
    Ok(get(addr, WORKLOADS, form).await?.into_body().collect().await?.to_bytes())
}

/// Counts the Workloads of a list by their uids. To parse it would take more CPU than the server needs to
/// create it.
pub(crate) fn count(list: &[u8]) -> anyhow::Result<usize> {
    Ok(str::from_utf8(list)?.matches(r#""uid":""#).count())
}

/// A watch as `kubectl get workloads --watch` opens it, on a connection of its own.
#[derive(Debug)]
pub(crate) struct KubeWatch {
    body: Incoming,
    /// Complete lines received.
    pub(crate) lines: usize,
    last: Vec<u8>,
    partial: Vec<u8>,
}

impl KubeWatch {
    /// Watches the changes after this revision.
    pub(crate) async fn open(addr: SocketAddr, revision: u64) -> anyhow::Result<Self> {
        let path = format!("{WORKLOADS}?watch=true&resourceVersion={revision}");
        let body = get(addr, &path, Form::Table).await?.into_body();
        Ok(Self { body, lines: 0, last: Vec::new(), partial: Vec::new() })
    }

    /// Opens this many watches.
    pub(crate) async fn many(addr: SocketAddr, watches: usize, revision: u64) -> anyhow::Result<Vec<Self>> {
        let watches = stream::iter(0..watches).map(|_| Self::open(addr, revision));
        watches.buffer_unordered(CONCURRENT).try_collect().await
    }

    /// Reads until the event of this revision, and returns it.
    pub(crate) async fn until(&mut self, revision: u64) -> anyhow::Result<Value> {
        let reading = async {
            loop {
                self.read().await?;
                if let Some(event) = self.at(revision)? {
                    return Ok(event);
                }
            }
        };
        timeout(TIMEOUT, reading).await.context("the watch has not reached the expected revision")?
    }

    /// Reads one part of the body, and splits it into lines.
    async fn read(&mut self) -> anyhow::Result<()> {
        let part = self.body.frame().await.context("the watch has ended")??;
        let part = part.into_data().ok().context("trailers")?;
        let mut lines = part.split(|byte| *byte == b'\n');
        self.partial.extend_from_slice(lines.next().unwrap_or_default());
        for start_of_next in lines {
            self.lines += 1;
            std::mem::swap(&mut self.last, &mut self.partial);
            self.partial.clear();
            self.partial.extend_from_slice(start_of_next);
        }
        Ok(())
    }

    /// The event of the last line, if it has this revision.
    fn at(&self, revision: u64) -> anyhow::Result<Option<Value>> {
        let stamp = format!(r#""resourceVersion":"{revision}""#);
        let line = str::from_utf8(&self.last)?;
        Ok(if line.contains(&stamp) { Some(serde_json::from_str(line)?) } else { None })
    }
}

async fn get(addr: SocketAddr, path: &str, form: Form) -> anyhow::Result<Response<Incoming>> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, addr.to_string())
        .header(header::ACCEPT, form.accept())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status().is_success(), "{path}: {}", response.status());
    Ok(response)
}
