//! Reading everything at once, and what a proxy notices of it.
//!
//! A scrape and a listing are headcount's alone: bare tonic has nothing to
//! tell. A proxy flips its health a thousand times a second meanwhile, and
//! waits for each ack; then the same with nobody who reads.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use tokio::{runtime::Runtime, task::spawn_blocking, time::Instant};
use tonic::transport::Channel;

use crate::{
    bare::Job,
    kube::{self, Form},
    load,
    server::{Server, Setup, Side},
    support::{
        percentile::percentile,
        reach::Reach,
        rounds::{Figure, Measure, alone},
        typical,
    },
    writer::Writer,
};

/// Workloads of one page: the most that the server gives.
const PAGE: u32 = 1_000;

struct Scale {
    rounds: usize,
    workloads: usize,
    connections: usize,
    /// Of each kind in a round.
    reads: usize,
}

const FULL: Scale = Scale { rounds: 5, workloads: 10_000, connections: 100, reads: 15 };

const QUICK: Scale = Scale { rounds: 1, workloads: 200, connections: 4, reads: 3 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let server = Server::start(Setup::new(Side::Headcount, Job::Relay).at_any_pace())?;
    let runtime = Runtime::new()?;
    let numbers = (0..scale.workloads).map(|place| place * typical::PER_WORKLOAD);
    let _crowd = runtime.block_on(load::crowd(&server.uri(), numbers, scale.connections))?;
    let mut writer = runtime.block_on(Writer::connect(&server.uri()))?;
    alone("scrape", scale.rounds, || runtime.block_on(round(&server, &scale, &mut writer)))
}

async fn round(server: &Server, scale: &Scale, writer: &mut Writer) -> anyhow::Result<Vec<Measure>> {
    let http = server.http().context("headcount has an HTTP port")?;
    let kube = server.kube()?;
    let channel = load::channel(&server.uri()).await?;
    let (reads, workloads) = (scale.reads, scale.workloads);
    let start = Instant::now();
    let reading = tokio::spawn(async move {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..reads {
            let [scrapes, listings, tables, objects] = &mut times;
            scrapes.push(spawn_blocking(move || scrape(http, workloads)).await??);
            listings.push(list(channel.clone(), workloads).await?);
            tables.push(list_kube(kube, Form::Table, workloads).await?);
            objects.push(list_kube(kube, Form::Json, workloads).await?);
        }
        anyhow::Ok(times)
    });
    let waits = writer.flip(|_| reading.is_finished()).await?;
    let times = reading.await??;
    let took = start.elapsed();
    let start = Instant::now();
    let calm = writer.flip(|_| start.elapsed() >= took).await?;

    let [scrape, list, table, json] = times.map(|mut times| {
        times.sort();
        percentile(&times, 50).as_secs_f64() * 1e3
    });
    let reach = Reach::AtMost(50.0);
    Ok(vec![
        Measure::new("a scrape of /metrics, 10,000 Workloads", "ms", scrape).reach(reach),
        Measure::new("ListWorkloads of the same, all pages", "ms", list).reach(reach),
        Measure::new("what kubectl get asks for, a Table of the same", "ms", table).reach(reach),
        Measure::new("the same as JSON by the Kubernetes API", "ms", json).reach(reach),
        Measure::new("wait for an ack meanwhile, p99", "ms", waits.millis(99)),
        Measure::new("wait for an ack with nobody reading, p99", "ms", calm.millis(99)),
        Measure::new("longest wait for an ack meanwhile", "ms", waits.millis(100)),
        Measure::new("longest wait for an ack with nobody reading", "ms", calm.millis(100)),
    ])
}

/// From connecting to the last byte.
fn scrape(addr: SocketAddr, workloads: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(addr)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: headcount\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let took = start.elapsed();
    let told = answer.lines().filter(|line| line.starts_with("headcount_dataplane_proxies_healthy{")).count();
    ensure!(told == workloads, "the scrape tells of {told} Workloads, not {workloads}");
    Ok(took)
}

/// From the first request to the last Workload.
async fn list(channel: Channel, workloads: usize) -> anyhow::Result<Duration> {
    let mut client = WorkloadServiceClient::new(channel);
    let start = Instant::now();
    let (mut told, mut page_token) = (0, String::new());
    loop {
        let request = ListWorkloadsRequest { page_size: PAGE, page_token, ..ListWorkloadsRequest::default() };
        let page = client.list_workloads(request).await?.into_inner();
        told += page.workloads.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let took = start.elapsed();
    ensure!(told == workloads, "the listing tells of {told} Workloads, not {workloads}");
    Ok(took)
}

/// From connecting to the last byte.
async fn list_kube(addr: SocketAddr, form: Form, workloads: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let answer = kube::list(addr, form).await?;
    let took = start.elapsed();
    let told = spawn_blocking(move || kube::count(&answer)).await??;
    ensure!(told == workloads, "the {form:?} tells of {told} Workloads, not {workloads}");
    Ok(took)
}
