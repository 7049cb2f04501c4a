//! The ack latency of a proxy while another client pages through 200,000 dataplanes, compared with no such
//! client on the same server.

use anyhow::ensure;
use headcount::{
    net::client::Connection,
    proto::{ListDataplanesRequest, dataplane_service_client::DataplaneServiceClient},
};
use tokio::{runtime::Runtime, time::Instant};

use crate::{
    bare_tonic::Mode,
    clients,
    remote::Remote,
    server::{Server, Setup, Side},
    support::{
        rounds::{Figure, Measure, compare, measure_alone},
        target::Target,
    },
    writer::Writer,
};

pub(crate) const ROW: &str = "pages";
pub(crate) const SIDES: [&str; 2] = ["a client pages through all dataplanes", "no such client"];

/// Dataplanes of one page: the server's maximum.
const PAGE: u32 = 1_000;

struct Scale {
    rounds: usize,
    dataplanes: usize,
    connections: usize,
    /// Dataplanes that are connected at a time until all are registered.
    batch: usize,
    /// Flips of a round without pages.
    flips: usize,
}

const FULL: Scale = Scale { rounds: 3, dataplanes: 200_000, connections: 64, batch: 20_000, flips: 5_000 };

const QUICK: Scale = Scale { rounds: 1, dataplanes: 3_000, connections: 4, batch: 1_000, flips: 200 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let setup = Setup::new(Side::Headcount, Mode::Ack).without_limits();
    let server = Server::start(setup.with_sessions(scale.dataplanes))?;
    let runtime = Runtime::new()?;
    runtime.block_on(register(server.remote(), &scale))?;
    let mut writer = runtime.block_on(Writer::connect(server.remote()))?;
    let connection = runtime.block_on(clients::connect(server.remote()))?;

    let mut figures = compare(ROW, scale.rounds, [true, false], |paging| {
        let latencies = runtime.block_on(async {
            if !paging {
                return writer.flip(|flips| flips == scale.flips).await;
            }
            let reading = tokio::spawn(list(connection.clone(), scale.dataplanes));
            let latencies = writer.flip(|_| reading.is_finished()).await?;
            reading.await??;
            Ok(latencies)
        })?;
        Ok(vec![
            Measure::new("ack latency with 200,000 dataplanes, p50", "ms", latencies.millis(50)),
            Measure::new("the same, p99", "ms", latencies.millis(99)).target(Target::AtMost(10.0)),
            Measure::new("the longest", "ms", latencies.millis(100)),
        ])
    })?;
    figures.extend(measure_alone(ROW, scale.rounds, || {
        let start = Instant::now();
        runtime.block_on(list(connection.clone(), scale.dataplanes))?;
        let took = start.elapsed().as_secs_f64();
        Ok(vec![Measure::new("all 200 pages, without the other proxy", "s", took)])
    })?);
    Ok(figures)
}

/// Registers the dataplanes. Their sessions end, and the server retains them as lost.
async fn register(remote: Remote, scale: &Scale) -> anyhow::Result<()> {
    let connections = clients::connections(remote, scale.connections).await?;
    for first in (0..scale.dataplanes).step_by(scale.batch) {
        drop(clients::open_many(remote, &connections, first..first + scale.batch).await?);
    }
    Ok(())
}

/// Lists all pages.
async fn list(connection: Connection, dataplanes: usize) -> anyhow::Result<()> {
    let mut client = DataplaneServiceClient::new(connection);
    let (mut listed, mut page_token) = (0, String::new());
    loop {
        let request =
            ListDataplanesRequest { page_size: PAGE, page_token, ..ListDataplanesRequest::default() };
        let page = client.list_dataplanes(request).await?.into_inner();
        listed += page.dataplanes.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    ensure!(listed == dataplanes, "the listing has {listed} dataplanes, not {dataplanes}");
    Ok(())
}
