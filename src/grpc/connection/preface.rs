//! New connections: a bound on their number, and a deadline for the HTTP/2 preface, so
//! that connections without a request cost little and not for long.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tracing::{debug, warn};

use crate::{config::Limits, telemetry::metrics::ShedMetrics};

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections with a preface that wait for the server, which takes them at once.
const QUEUE: usize = 64;

/// The accepted connections that have sent the HTTP/2 preface in time.
pub(in crate::grpc) fn with_preface<S, Io>(
    accepted: S,
    limits: &Limits,
    shed: ShedMetrics,
) -> impl Stream<Item = Connection<Io>> + use<S, Io>
where
    S: Stream<Item = (Io, SocketAddr)> + Send + 'static,
    Io: AsyncRead + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    let places = Arc::new(Semaphore::new(limits.max_connections));
    tokio::spawn(read_prefaces(accepted, places, limits.hello_timeout, sender, shed));
    stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

async fn read_prefaces<S, Io>(
    accepted: S,
    places: Arc<Semaphore>,
    deadline: Duration,
    sender: mpsc::Sender<Connection<Io>>,
    shed: ShedMetrics,
) where
    S: Stream<Item = (Io, SocketAddr)>,
    Io: AsyncRead + Send + Unpin + 'static,
{
    let mut accepted = pin!(accepted);
    loop {
        let next = tokio::select! {
            biased;
            () = sender.closed() => return,
            next = accepted.next() => next,
        };
        let Some((io, peer)) = next else {
            return;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shed.shed(ShedMetrics::CONNECTIONS);
            warn!(%peer, "refused a connection: max-connections is reached");
            continue;
        };
        let sender = sender.clone();
        tokio::spawn(async move {
            match timeout(deadline, Connection::open(io, peer, place)).await {
                Ok(Ok(connection)) => {
                    let _closed = sender.send(connection).await;
                }
                Ok(Err(error)) => debug!(%peer, %error, "refused a connection"),
                Err(_) => debug!(%peer, "refused a connection: no HTTP/2 preface in time"),
            }
        });
    }
}

/// A connection whose preface has been read and is replayed to the server.
#[derive(Debug)]
pub(in crate::grpc) struct Connection<Io> {
    io: Io,
    peer: SocketAddr,
    replayed: usize,
    _place: OwnedSemaphorePermit,
}

impl<Io: AsyncRead + Unpin> Connection<Io> {
    async fn open(mut io: Io, peer: SocketAddr, place: OwnedSemaphorePermit) -> io::Result<Self> {
        let mut read = 0;
        let mut start = [0; PREFACE.len()];
        while read < start.len() {
            match io.read(&mut start[read..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
            if start[..read] != PREFACE[..read] {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"));
            }
        }
        Ok(Self { io, peer, replayed: 0, _place: place })
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &PREFACE[self.replayed..];
        if left.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let now = left.len().min(buf.remaining());
        buf.put_slice(&left[..now]);
        self.replayed += now;
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
