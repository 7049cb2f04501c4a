//! A client connection whose every byte the test controls.

use std::{io, net::SocketAddr};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{Frame, PREFACE, flag, frame, kind, settings};

/// An HTTP/2 connection that sends what the test gives it, valid or not.
pub(crate) struct Connection {
    pub(crate) io: TcpStream,
    received: BytesMut,
}

/// How the server ended a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The error code of its GOAWAY. None if the connection was reset, which happens when the server
    /// closes it with unread data.
    pub(crate) goaway: Option<u32>,
}

impl Connection {
    /// Connects, and sends the preface and these settings.
    pub(crate) async fn connect(server: SocketAddr, with: &[(u16, u32)]) -> io::Result<Self> {
        Self::over(TcpStream::connect(server).await?, with).await
    }

    /// Connects with the smallest receive buffer that the system allows.
    pub(crate) async fn connect_with_small_buffer(
        server: SocketAddr,
        with: &[(u16, u32)],
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(1)?;
        Self::over(socket.connect(server).await?, with).await
    }

    async fn over(mut io: TcpStream, with: &[(u16, u32)]) -> io::Result<Self> {
        io.set_nodelay(true)?;
        io.write_all(&[PREFACE, &settings(with)].concat()).await?;
        Ok(Self { io, received: BytesMut::new() })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }

    /// Returns the next frame, or none when the connection is closed.
    pub(crate) async fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, length)) = Frame::read(&self.received) {
                self.received.advance(length);
                return Ok(Some(frame));
            }
            if self.io.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Acknowledges a PING or SETTINGS frame, and ignores all others.
    pub(crate) async fn acknowledge(&mut self, received: &Frame) -> io::Result<()> {
        match received.kind {
            kind::PING if received.flags & flag::ACK == 0 => {
                self.send(&frame(kind::PING, flag::ACK, 0, &received.payload)).await
            }
            kind::SETTINGS if received.flags & flag::ACK == 0 => {
                self.send(&frame(kind::SETTINGS, flag::ACK, 0, &[])).await
            }
            _ => Ok(()),
        }
    }

    /// Reads, and acknowledges PING and SETTINGS, up to the first wanted frame.
    pub(crate) async fn read_until(&mut self, wanted: impl Fn(&Frame) -> bool) -> io::Result<Option<Frame>> {
        while let Some(received) = self.next_frame().await? {
            if wanted(&received) {
                return Ok(Some(received));
            }
            self.acknowledge(&received).await?;
        }
        Ok(None)
    }

    /// Returns whether the server still answers a PING.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let payload = *b"alive?!?";
        let pong = |received: &Frame| received.kind == kind::PING && received.payload == payload;
        self.send(&frame(kind::PING, flag::NONE, 0, &payload)).await.is_ok()
            && matches!(self.read_until(pong).await, Ok(Some(_)))
    }

    /// Sends these bytes over and over, without reading, until the server ends the connection.
    pub(crate) async fn flood_without_reading(mut self, bytes: &[u8]) {
        while self.send(bytes).await.is_ok() {}
    }

    /// Sends all these bytes while it reads, until the server ends the connection. Write and read
    /// errors are not reported: the server is expected to close the connection of an abusive client.
    pub(crate) async fn flood(self, writes: impl Iterator<Item = Vec<u8>>) -> End {
        let Self { mut io, mut received } = self;
        let (mut read, mut write) = io.split();
        let mut end = End::default();
        let send_all = async {
            for bytes in writes {
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let receive_all = async {
            loop {
                while let Some((frame, length)) = Frame::read(&received) {
                    received.advance(length);
                    if frame.kind == kind::GOAWAY {
                        end.goaway = frame.error_code();
                    }
                }
                if !read.read_buf(&mut received).await.is_ok_and(|read| read > 0) {
                    return;
                }
            }
        };
        tokio::join!(send_all, receive_all);
        end
    }
}
