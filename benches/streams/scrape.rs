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
use tokio::{
    runtime::Runtime,
    sync::watch,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::transport::Channel;

use crate::{
    bare::Job,
    load::{self, Proxy},
    server::{Server, Setup, Side},
    support::{
        percentile::percentile,
        reach::Reach,
        rounds::{Figure, Measure, alone},
        typical,
    },
};

/// Between flips.
const PERIOD: Duration = Duration::from_millis(1);
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
    let server = Server::start(Setup::new(Side::Headcount, Job::Relay))?;
    let runtime = Runtime::new()?;
    let numbers = (0..scale.workloads).map(|place| place * typical::PER_WORKLOAD);
    let _crowd = runtime.block_on(load::crowd(&server.uri(), numbers, scale.connections))?;
    // In a workload that all others were before.
    let mut writer = runtime.block_on(Proxy::connect(&server.uri(), 1))?;
    let mut sequence = 0;
    alone("scrape", scale.rounds, || runtime.block_on(round(&server, &scale, &mut writer, &mut sequence)))
}

async fn round(
    server: &Server,
    scale: &Scale,
    writer: &mut Proxy,
    sequence: &mut u64,
) -> anyhow::Result<Vec<Measure>> {
    let http = server.http().context("headcount has an HTTP port")?;
    let (over, mut is_over) = watch::channel(());
    let channel = load::channel(&server.uri()).await?;
    let (reads, workloads) = (scale.reads, scale.workloads);
    let start = Instant::now();
    let reading = tokio::spawn(async move {
        let _over = over;
        let (mut scrapes, mut listings) = (Vec::new(), Vec::new());
        for _ in 0..reads {
            scrapes.push(spawn_blocking(move || scrape(http, workloads)).await??);
            listings.push(list(channel.clone(), workloads).await?);
        }
        anyhow::Ok([scrapes, listings])
    });
    let waits = flip(writer, sequence, async { while is_over.changed().await.is_ok() {} }).await?;
    let times = reading.await??;
    let took = start.elapsed();
    let calm = flip(writer, sequence, tokio::time::sleep(took)).await?;

    let [scrape, list] = times.map(|mut times| {
        times.sort();
        percentile(&times, 50).as_secs_f64() * 1e3
    });
    let millis = |waits: &[Duration], percent| percentile(waits, percent).as_secs_f64() * 1e3;
    let reach = Reach::AtMost(50.0);
    Ok(vec![
        Measure::new("a scrape of /metrics, 10,000 Workloads", "ms", scrape).reach(reach),
        Measure::new("ListWorkloads of the same, all pages", "ms", list).reach(reach),
        Measure::new("wait for an ack meanwhile, p99", "ms", millis(&waits, 99)),
        Measure::new("wait for an ack with nobody reading, p99", "ms", millis(&calm, 99)),
        Measure::new("longest wait for an ack meanwhile", "ms", millis(&waits, 100)),
        Measure::new("longest wait for an ack with nobody reading", "ms", millis(&calm, 100)),
    ])
}

/// Flips until it is over; returns how long each ack took, the shortest first.
async fn flip(
    writer: &mut Proxy,
    sequence: &mut u64,
    over: impl Future<Output = ()>,
) -> anyhow::Result<Vec<Duration>> {
    let mut waits = Vec::new();
    let mut clock = interval(PERIOD);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = std::pin::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => break,
            _ = clock.tick() => {}
        }
        *sequence += 1;
        let start = Instant::now();
        writer.report(*sequence).await?;
        waits.push(start.elapsed());
    }
    waits.sort();
    Ok(waits)
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
