//! Where connections come in: a bound on how many, and a deadline for the
//! first bytes, so that half-open ones cost little and not for long.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

use crate::{
    accept::accept,
    config::Limits,
    metrics::{ConnectionMetrics, Refusal},
};

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections that have shown the preface and wait for the server to take
/// them, which it does at once.
const READY: usize = 64;

/// Connections that speak HTTP/2. Ends when the task that accepts them does.
pub(super) fn incoming(
    listener: TcpListener,
    limits: &Limits,
    metrics: ConnectionMetrics,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let (ready, taken) = mpsc::channel(READY);
    let places = Arc::new(Semaphore::new(limits.max_connections));
    tokio::spawn(let_in(listener, places, limits.hello_timeout, metrics, ready));
    stream::unfold(taken, |mut taken| async { Some((Ok(taken.recv().await?), taken)) })
}

async fn let_in(
    listener: TcpListener,
    places: Arc<Semaphore>,
    deadline: Duration,
    metrics: ConnectionMetrics,
    ready: mpsc::Sender<Connection>,
) {
    loop {
        let (io, peer) = tokio::select! {
            () = ready.closed() => return,
            accepted = accept(&listener) => accepted,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.refused(Refusal::Full);
            warn!(%peer, "refused a connection: max-connections is reached");
            continue;
        };
        let (metrics, ready) = (metrics.clone(), ready.clone());
        tokio::spawn(async move {
            match timeout(deadline, Connection::open(io, place)).await {
                Ok(Ok(connection)) => {
                    let _closed = ready.send(connection).await;
                }
                Ok(Err(error)) => {
                    metrics.refused(Refusal::NoHttp2);
                    debug!(%peer, %error, "refused a connection");
                }
                Err(_) => {
                    metrics.refused(Refusal::Late);
                    debug!(%peer, "refused a connection: no HTTP/2 preface in time");
                }
            }
        });
    }
}

/// A connection whose preface has been read, and is replayed to the server.
#[derive(Debug)]
pub(super) struct Connection {
    io: TcpStream,
    replayed: usize,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn open(mut io: TcpStream, place: OwnedSemaphorePermit) -> io::Result<Self> {
        // Deltas and acks are small and waited for.
        io.set_nodelay(true)?;
        let mut read = 0;
        let mut start = [0; PREFACE.len()];
        while read < start.len() {
            match io.read(&mut start[read..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
            if start[..read] != PREFACE[..read] {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP/2"));
            }
        }
        Ok(Self { io, replayed: 0, _place: place })
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.io.connect_info()
    }
}

impl AsyncRead for Connection {
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

impl AsyncWrite for Connection {
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
