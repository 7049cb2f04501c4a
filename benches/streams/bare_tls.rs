//! The baseline's TLS: tokio-rustls, as tonic's own feature uses it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::{security::Security, support::child};

/// Connections that wait for the server, which takes them at once.
const QUEUE: usize = 64;

/// The connections of a listener that have finished the handshake.
pub(crate) fn incoming(
    listener: TcpListener,
    config: ServerConfig,
) -> impl Stream<Item = io::Result<TlsIo>> + use<> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(accept(listener, config, move |stream| {
        let sender = sender.clone();
        async move {
            // Fails if the server has ended.
            let _ended = sender.send(Ok(TlsIo(Box::new(stream)))).await;
        }
    }));
    ReceiverStream::new(receiver)
}

/// In a child: accepts connections, and closes each when its client has, until the parent exits.
pub(crate) fn accept_only(security: Security) -> anyhow::Result<()> {
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    child::announce(&listener.local_addr()?)?;
    runtime.spawn(accept(listener, security.server_config()?, |mut stream| async move {
        let _end = stream.read(&mut [0; 1]).await;
    }));
    child::wait_for_parent_exit();
    Ok(())
}

/// Accepts connections forever; handles each in a task of its own, after the handshake.
async fn accept<Handled: Future<Output = ()> + Send>(
    listener: TcpListener,
    config: ServerConfig,
    handle: impl Fn(TlsStream<TcpStream>) -> Handled + Clone + Send + 'static,
) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let Ok((io, _)) = listener.accept().await else { continue };
        // Fails only if the connection has ended.
        let _ended = io.set_nodelay(true);
        let (acceptor, handle) = (acceptor.clone(), handle.clone());
        tokio::spawn(async move {
            match acceptor.accept(io).await {
                Ok(stream) => handle(stream).await,
                Err(error) => eprintln!("a handshake failed: {error}"),
            }
        });
    }
}

/// A connection, boxed as by tonic.
pub(crate) struct TlsIo(Box<TlsStream<TcpStream>>);

impl Connected for TlsIo {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.0.get_ref().0.connect_info()
    }
}

impl AsyncRead for TlsIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
