//! Opens the TCP or TLS connections of a channel.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower::Service;

use super::{
    problem::ConnectProblem,
    state::{ConnectionState, OpenConnection},
};
use crate::net::tls::ClientTls;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Opens a connection whenever the channel needs one. The files of TLS are read each time.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    /// None for plaintext.
    tls: Option<Arc<ClientTls>>,
    state: ConnectionState,
}

impl Connector {
    pub(super) fn new(tls: Option<Arc<ClientTls>>, timeout: Duration, state: ConnectionState) -> Self {
        let mut tcp = HttpConnector::new();
        // TLS is added here.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, tls, state }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Explained>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connected, tls, state) = (self.tcp.call(uri), self.tls.clone(), self.state.clone());
        let open = state.opening();
        Box::pin(async move {
            let stream = connected.await?.into_inner();
            let stream = match &tls {
                Some(tls) => Either::Right(tls.connect(stream).await?),
                None => Either::Left(stream),
            };
            Ok(TokioIo::new(Explained { stream, tls, received: false, state, _open: open }))
        })
    }
}

/// A connection whose errors name what the server requires.
pub(super) struct Explained {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    tls: Option<Arc<ClientTls>>,
    /// Whether the server has sent anything after the handshake.
    received: bool,
    state: ConnectionState,
    _open: OpenConnection,
}

impl Explained {
    fn explain(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let problem = match &self.tls {
            Some(tls) => tls.explain(&error, self.received),
            // A server that closes the connection before it has read everything resets it.
            None if !self.received
                && matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset) =>
            {
                Some(no_answer())
            }
            None => None,
        };
        match problem {
            Some(problem) => self.fail(problem),
            None => error,
        }
    }

    fn fail(&self, problem: ConnectProblem) -> io::Error {
        self.state.set_problem(Some(problem.clone()));
        problem.into()
    }

    /// Examines the first bytes that the server sent; none if it has closed the connection.
    fn check_first(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.received {
            return Ok(());
        }
        match (&self.tls, bytes) {
            // The header of a TLS alert, with which a TLS server answers an HTTP/2 preface.
            (None, [0x15, 0x03, ..]) => Err(self.fail(ConnectProblem::new(
                "the server requires TLS",
                "write its address with https://, and set --ca-file",
            ))),
            // Other TLS servers close the connection without an alert.
            (None, []) => Err(self.fail(no_answer())),
            (Some(_), []) => Err(self.explain(io::ErrorKind::UnexpectedEof.into())),
            _ => {
                self.received = true;
                self.state.set_problem(None);
                Ok(())
            }
        }
    }
}

fn no_answer() -> ConnectProblem {
    ConnectProblem::new(
        "the server closed the connection without an answer",
        "if it requires TLS, write its address with https:// and set --ca-file; otherwise check --server: it must be \
         the gRPC address of a headcount server (port 7100 by default)",
    )
}

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => Poll::Ready(self.check_first(&buffer.filled()[before..])),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.explain(error))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Explained {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        written.map_err(|error| self.explain(error))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        written.map_err(|error| self.explain(error))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        flushed.map_err(|error| self.explain(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
