//! The time to read everything, and the ack latency of a proxy meanwhile.
//!
//! Bare tonic has nothing to read, so the row has no baseline. A proxy flips its health 1,000 times a second
//! while everything is read, and waits for each ack; then it does the same without readers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use headcount::{
    net::client::Connection,
    proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient},
};
use tokio::{runtime::Runtime, task::spawn_blocking, time::Instant};

use crate::{
    bare_tonic::Mode,
    clients,
    kube::{self, Form},
    server::{Server, Setup, Side},
    support::{
        percentile::percentile,
        rounds::{Figure, Measure, measure_alone},
        target::Target,
        typical,
    },
    writer::Writer,
};

/// Workloads of one page: the server's maximum.
const PAGE: u32 = 1_000;

struct Scale {
    rounds: usize,
    workloads: usize,
    connections: usize,
    /// Reads of each kind in a round.
    reads: usize,
}

const FULL: Scale = Scale { rounds: 5, workloads: 10_000, connections: 100, reads: 15 };

const QUICK: Scale = Scale { rounds: 1, workloads: 200, connections: 4, reads: 3 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let server = Server::start(Setup::new(Side::Headcount, Mode::Relay).without_limits())?;
    let runtime = Runtime::new()?;
    let numbers = (0..scale.workloads).map(|index| index * typical::PER_WORKLOAD);
    let _proxies = runtime.block_on(clients::connect_many(server.remote(), numbers, scale.connections))?;
    let mut writer = runtime.block_on(Writer::connect(server.remote()))?;
    measure_alone("scrape", scale.rounds, || runtime.block_on(round(&server, &scale, &mut writer)))
}

async fn round(server: &Server, scale: &Scale, writer: &mut Writer) -> anyhow::Result<Vec<Measure>> {
    let http = server.http().context("headcount has an HTTP port")?;
    let kube = server.kube()?;
    let connection = clients::connect(server.remote()).await?;
    let (reads, workloads) = (scale.reads, scale.workloads);
    let start = Instant::now();
    let reading = tokio::spawn(async move {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..reads {
            let [scrapes, listings, tables, objects] = &mut times;
            scrapes.push(spawn_blocking(move || scrape(http, workloads)).await??);
            listings.push(list(connection.clone(), workloads).await?);
            tables.push(list_kube(kube, Form::Table, workloads).await?);
            objects.push(list_kube(kube, Form::Json, workloads).await?);
        }
        anyhow::Ok(times)
    });
    let while_reading = writer.flip(|_| reading.is_finished()).await?;
    let times = reading.await??;
    let took = start.elapsed();
    let start = Instant::now();
    let without_readers = writer.flip(|_| start.elapsed() >= took).await?;

    let [scrape, list, table, json] = times.map(|mut times| {
        times.sort();
        percentile(&times, 50).as_secs_f64() * 1e3
    });
    let target = Target::AtMost(50.0);
    Ok(vec![
        Measure::new("a scrape of /metrics, 10,000 Workloads", "ms", scrape).target(target),
        Measure::new("ListWorkloads, all pages of the same", "ms", list).target(target),
        Measure::new("the same as a Table, as kubectl get requests it", "ms", table).target(target),
        Measure::new("the same as JSON, by the Kubernetes API", "ms", json).target(target),
        Measure::new("ack latency meanwhile, p99", "ms", while_reading.millis(99)),
        Measure::new("ack latency without readers, p99", "ms", without_readers.millis(99)),
        Measure::new("longest ack latency meanwhile", "ms", while_reading.millis(100)),
        Measure::new("longest ack latency without readers", "ms", without_readers.millis(100)),
    ])
}

/// Scrapes the metrics: from connecting to the last byte.
fn scrape(addr: SocketAddr, workloads: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let took = start.elapsed();
    let scraped =
        response.lines().filter(|line| line.starts_with("headcount_dataplane_proxies_healthy{")).count();
    ensure!(scraped == workloads, "the scrape has {scraped} Workloads, not {workloads}");
    Ok(took)
}

/// Lists all pages: from the first request to the last Workload.
async fn list(connection: Connection, workloads: usize) -> anyhow::Result<Duration> {
    let mut client = WorkloadServiceClient::new(connection);
    let start = Instant::now();
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request = ListWorkloadsRequest { page_size: PAGE, page_token, ..ListWorkloadsRequest::default() };
        let page = client.list_workloads(request).await?.into_inner();
        listed += page.workloads.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let took = start.elapsed();
    ensure!(listed == workloads, "the listing has {listed} Workloads, not {workloads}");
    Ok(took)
}

/// Lists by the Kubernetes API: from connecting to the last byte.
async fn list_kube(addr: SocketAddr, form: Form, workloads: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let list = kube::list(addr, form).await?;
    let took = start.elapsed();
    let listed = spawn_blocking(move || kube::count(&list)).await??;
    ensure!(listed == workloads, "the {form:?} has {listed} Workloads, not {workloads}");
    Ok(took)
}
