//! `headcount serve --demo`: simulated proxies, and a watch of their counts on standard output.

use std::{
    convert::Infallible,
    io::{self, Write},
    sync::mpsc::{self, SyncSender, TrySendError},
    thread,
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    app::Addresses,
    cli::{self, Failure, Terminal},
    config::Config,
    net::client::ServerEndpoint,
    simulate::demo,
};

/// Longest time for the goodbyes of all proxies.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes that are queued while the terminal is paused.
const QUEUE_LENGTH: usize = 256;

/// Whether the server of a demo, which is without TLS and credentials, can be reached by this machine
/// only.
pub(super) fn is_local(config: &Config) -> bool {
    let Config { grpc_addr, http_addr, kube, tls, .. } = config;
    let addresses = [Some(*grpc_addr), Some(*http_addr), kube.addr];
    let has_tls = tls.grpc.is_some() || tls.http.is_some() || kube.tls.is_some();
    !has_tls && addresses.into_iter().flatten().all(|address| address.ip().is_loopback())
}

/// A running demo.
pub(super) struct Demo {
    server: String,
    shutdown: CancellationToken,
    proxies: JoinHandle<()>,
}

impl Demo {
    /// Starts the proxies, which connect over the network like any other, and prints how to read
    /// their counts.
    pub(super) fn start(
        Addresses { grpc, http, kube }: Addresses,
        terminal: &mut Terminal<'_>,
    ) -> Result<Self, Failure> {
        let server = format!("http://{grpc}");
        let endpoint = ServerEndpoint::plaintext(&server).map_err(anyhow::Error::from)?;
        let shutdown = CancellationToken::new();
        let proxies = demo::run(&endpoint, &shutdown).map_err(anyhow::Error::from)?;
        let headcount = std::env::args().next().unwrap_or_else(|| "headcount".to_owned());
        let kubectl =
            kube.map(|kube| format!("  kubectl -s http://{kube} get workloads -A\n")).unwrap_or_default();
        let printed = terminal.print(&format!(
            "Simulated proxies of three workloads connect and disconnect; each change is printed below.\n\
             Try in another terminal:\n  \
             {headcount} get workloads -A --server {server}\n  \
             grpcurl -plaintext {grpc} headcount.v1.WorkloadService/WatchWorkloads\n  \
             curl http://{http}/metrics\n\
             {kubectl}\
             There is no TLS and no access control: every program on this machine can read and register.\n\
             Ctrl-C ends the server.\n\n"
        ));
        // The server goes on, as it does when standard output is closed later.
        if let Err(error) = printed {
            warn!(%error, "can't print the demo's hints");
        }
        Ok(Self { server, shutdown, proxies: tokio::spawn(proxies) })
    }

    /// Prints the changes of all Workloads, until standard output is closed. Never returns,
    /// because the server goes on.
    pub(super) async fn print_changes(demo: Option<&Self>) -> Infallible {
        if let Some(demo) = demo {
            let watch = ["headcount", "get", "workloads", "-A", "-w", "--server", &demo.server];
            // The watch's remarks don't belong in the server's log.
            let (mut out, mut err) = (LossyStdout::start(), io::sink());
            let mut terminal = Terminal { out: &mut out, err: &mut err };
            let watched = Box::pin(cli::run(watch.map(Into::into), &mut terminal)).await;
            if let Err(failure) = watched {
                warn!(%failure, "the demo's changes are no longer printed");
            }
        }
        std::future::pending().await
    }

    /// Disconnects all proxies with a goodbye.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        if timeout(GOODBYE_TIMEOUT, self.proxies).await.is_err() {
            warn!("the demo's proxies did not disconnect in time");
        }
    }
}

/// Standard output, written by a thread of its own, so that a paused terminal does not block the
/// server. Writes that don't fit into the queue are dropped.
struct LossyStdout(SyncSender<Vec<u8>>);

impl LossyStdout {
    fn start() -> Self {
        let (writes, queue) = mpsc::sync_channel::<Vec<u8>>(QUEUE_LENGTH);
        thread::spawn(move || {
            let mut out = io::stdout();
            // Ends when standard output is closed, which closes the queue.
            let _closed = queue.iter().try_for_each(|bytes| out.write_all(&bytes).and_then(|()| out.flush()));
        });
        Self(writes)
    }
}

impl Write for LossyStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.try_send(bytes.to_vec()) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(bytes.len()),
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
