//! One end of a connection, as tokio's I/O traits for hyper.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep_until},
};

use super::{
    ConnectionId, Network, Side,
    pipe::{End, ReadOutcome, reset},
};

/// One end of a connection. Dropping it closes this end.
#[derive(Debug)]
pub struct Socket {
    network: Network,
    connection: ConnectionId,
    side: Side,
    /// Fires when the next bytes arrive.
    arrival: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub(super) fn new(network: Network, connection: ConnectionId, side: Side) -> Self {
        Self { network, connection, side, arrival: None }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match this.network.read(this.connection, this.side, cx.waker(), buf) {
                ReadOutcome::Data | ReadOutcome::End(End::Fin) => return Poll::Ready(Ok(())),
                ReadOutcome::End(End::Reset) => return Poll::Ready(Err(reset())),
                ReadOutcome::Empty => return Poll::Pending,
                ReadOutcome::ArrivesAt(at) => {
                    let arrival = this.arrival.get_or_insert_with(|| Box::pin(sleep_until(at)));
                    if arrival.deadline() != at {
                        arrival.as_mut().reset(at);
                    }
                    ready!(arrival.as_mut().poll(cx));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.network.write(self.connection, self.side, cx.waker(), buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.shutdown(self.connection, self.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.close(self.connection, self.side);
    }
}
