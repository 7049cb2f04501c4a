//! New connections: their places, and a deadline for the HTTP/2 preface, so that connections
//! without a request cost little and not for long.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::timeout,
};
use tracing::{debug, warn};

use crate::{
    net::places::{Full, Place, Places, Taken},
    net::tls::{PresentedCertificates, begins_tls},
    telemetry::metrics::ShedMetrics,
};

/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections with a preface that wait for the server, which takes them at once.
const QUEUE: usize = 64;

/// An accepted connection that has a place and has sent its preface.
#[derive(Debug)]
pub(in crate::grpc) struct Connection<Io> {
    pub(super) io: WithPreface<Io>,
    pub(super) peer: SocketAddr,
    pub(super) certificates: PresentedCertificates,
    pub(super) place: Place,
}

/// The accepted connections that have finished `handshake` and sent the HTTP/2 preface in time.
///
/// `handshake` is that of TLS, or [`plaintext`].
pub(in crate::grpc) fn with_preface<S, Io, Handshake, Shaken, Transport>(
    accepted: S,
    handshake: Handshake,
    places: Places,
    deadline: Duration,
    shed: ShedMetrics,
) -> impl Stream<Item = Connection<Transport>> + use<S, Io, Handshake, Shaken, Transport>
where
    S: Stream<Item = (Io, SocketAddr)> + Send + 'static,
    Io: Send + 'static,
    Handshake: Fn(Io, SocketAddr) -> Shaken + Send + 'static,
    Shaken: Future<Output = io::Result<(Transport, PresentedCertificates)>> + Send + 'static,
    Transport: AsyncRead + Send + Unpin + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(read_prefaces(accepted, handshake, places, deadline, sender, shed));
    stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

/// The handshake of a listener without TLS: none.
pub(in crate::grpc) async fn plaintext<Io>(
    io: Io,
    _peer: SocketAddr,
) -> io::Result<(Io, PresentedCertificates)> {
    Ok((io, PresentedCertificates::default()))
}

async fn read_prefaces<S, Io, Handshake, Shaken, Transport>(
    accepted: S,
    handshake: Handshake,
    places: Places,
    deadline: Duration,
    sender: mpsc::Sender<Connection<Transport>>,
    shed: ShedMetrics,
) where
    S: Stream<Item = (Io, SocketAddr)>,
    Handshake: Fn(Io, SocketAddr) -> Shaken,
    Shaken: Future<Output = io::Result<(Transport, PresentedCertificates)>> + Send + 'static,
    Transport: AsyncRead + Send + Unpin + 'static,
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
        let Some(mut place) = take_place(&places, peer, &shed) else {
            continue;
        };
        let (sender, handshake) = (sender.clone(), handshake(io, peer));
        tokio::spawn(async move {
            let open = async {
                let (io, certificates) = handshake.await?;
                Ok::<_, io::Error>((WithPreface::read(io, peer).await?, certificates))
            };
            let opened = tokio::select! {
                opened = timeout(deadline, open) => opened,
                why = place.closed() => return debug!(%peer, ?why, "closed a connection without a preface"),
            };
            match opened {
                Ok(Ok((io, certificates))) => {
                    let _closed = sender.send(Connection { io, peer, certificates, place }).await;
                }
                Ok(Err(error)) => debug!(%peer, %error, "refused a connection"),
                Err(_) => debug!(%peer, "refused a connection: no HTTP/2 preface in time"),
            }
        });
    }
}

/// Takes a place for a new connection, if there is one.
fn take_place(places: &Places, peer: SocketAddr, shed: &ShedMetrics) -> Option<Place> {
    let setting = |full| match full {
        Full::Total => ShedMetrics::CONNECTIONS,
        Full::Address => ShedMetrics::CONNECTIONS_PER_ADDRESS,
    };
    match places.take(peer.ip()) {
        Taken::Free(place) => Some(place),
        Taken::Instead(place, full) => {
            shed.shed(setting(full));
            warn!(%peer, "closed the connection that was inactive for longest, for a new one: {} is reached", setting(full));
            Some(place)
        }
        Taken::Refused(full) => {
            shed.shed(setting(full));
            warn!(%peer, "refused a connection: {} is reached", setting(full));
            None
        }
        Taken::Unauthenticated => None,
    }
}

/// A connection whose preface has been read and is replayed to the server.
#[derive(Debug)]
pub(super) struct WithPreface<Io> {
    io: Io,
    replayed: usize,
}

impl<Io: AsyncRead + Unpin> WithPreface<Io> {
    async fn read(mut io: Io, peer: SocketAddr) -> io::Result<Self> {
        let mut read = 0;
        let mut start = [0; PREFACE.len()];
        while read < start.len() {
            match io.read(&mut start[read..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
            if start[..read] != PREFACE[..read] {
                if begins_tls(&start[..read]) {
                    warn!(%peer, "a client sent TLS to the gRPC address, which has no TLS: it must connect with http, or the server needs --tls-cert-file and --tls-key-file");
                }
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"));
            }
        }
        Ok(Self { io, replayed: 0 })
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for WithPreface<Io> {
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

impl<Io: AsyncWrite + Unpin> AsyncWrite for WithPreface<Io> {
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
