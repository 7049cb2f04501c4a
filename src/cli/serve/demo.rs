//! What `headcount serve --demo` adds: proxies, and a view of them.

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
    agent::endpoint,
    app::Addresses,
    cli::{self, Failure, Terminal},
    simulate::demo,
};

/// How long the proxies may take to say goodbye.
const CURTAIN: Duration = Duration::from_secs(2);

/// Rows that wait for a paused terminal.
const ROWS: usize = 256;

/// A demo that runs.
pub(super) struct Demo {
    server: String,
    curtain: CancellationToken,
    proxies: JoinHandle<()>,
}

impl Demo {
    /// Lets the proxies connect, over the socket that everybody uses, and says
    /// where to look.
    pub(super) fn start(
        Addresses { grpc, http, kube }: Addresses,
        terminal: &mut Terminal<'_>,
    ) -> Result<Self, Failure> {
        let server = format!("http://{grpc}");
        let endpoint = endpoint(&server).map_err(anyhow::Error::from)?;
        let curtain = CancellationToken::new();
        let play = demo::play(&endpoint, &curtain).map_err(anyhow::Error::from)?;
        let headcount = std::env::args().next().unwrap_or_else(|| "headcount".to_owned());
        let kubectl =
            kube.map(|kube| format!("  kubectl -s http://{kube} get workloads -A\n")).unwrap_or_default();
        terminal.print(&format!(
            "Simulated proxies of three workloads come and go; below is each change. From another terminal:\n  \
             {headcount} get workloads -A --server {server}\n  \
             grpcurl -plaintext {grpc} headcount.v1.WorkloadService/WatchWorkloads\n  \
             curl http://{http}/metrics\n\
             {kubectl}\
             Ctrl-C ends it.\n\n"
        ))?;
        Ok(Self { server, curtain, proxies: tokio::spawn(play) })
    }

    /// Shows what a watcher sees, for as long as somebody looks. Never returns:
    /// the server goes on when nobody does.
    pub(super) async fn show(demo: Option<&Self>) -> Infallible {
        if let Some(demo) = demo {
            let watch = ["headcount", "get", "workloads", "-A", "-w", "--server", &demo.server];
            // What a watch remarks to a person is none of the server's log.
            let (mut shown, mut unseen) = (Unhurried::start(), io::sink());
            let mut terminal = Terminal { out: &mut shown, err: &mut unseen };
            let watched = Box::pin(cli::run(watch.map(Into::into), &mut terminal)).await;
            if let Err(failure) = watched {
                warn!(%failure, "the demo is no longer shown");
            }
        }
        std::future::pending().await
    }

    /// All proxies say goodbye.
    pub(super) async fn end(self) {
        self.curtain.cancel();
        if timeout(CURTAIN, self.proxies).await.is_err() {
            warn!("the demo's proxies did not leave in time");
        }
    }
}

/// Standard output, written by a thread of its own: whoever pauses the terminal
/// must not pause the server. What does not fit meanwhile is left out.
struct Unhurried(SyncSender<Vec<u8>>);

impl Unhurried {
    fn start() -> Self {
        let (rows, queue) = mpsc::sync_channel::<Vec<u8>>(ROWS);
        thread::spawn(move || {
            let mut out = io::stdout();
            // Ends when nobody reads any more, which closes the queue.
            let _closed = queue.iter().try_for_each(|rows| out.write_all(&rows).and_then(|()| out.flush()));
        });
        Self(rows)
    }
}

impl Write for Unhurried {
    fn write(&mut self, rows: &[u8]) -> io::Result<usize> {
        match self.0.try_send(rows.to_vec()) {
            Ok(()) | Err(TrySendError::Full(_)) => Ok(rows.len()),
            Err(TrySendError::Disconnected(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
