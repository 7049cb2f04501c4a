//! A connection of which every byte is the test's.

use std::{io, net::SocketAddr};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use super::{Frame, PREFACE, flag, frame, kind, settings};

/// See the module's documentation.
pub(crate) struct Line {
    pub(crate) io: TcpStream,
    heard: BytesMut,
}

/// How the server ended a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The reason of its GOAWAY; none if the connection just broke, as it does
    /// when the server closes while something of ours was not read.
    pub(crate) goaway: Option<u32>,
}

impl Line {
    /// Connects, and says the preface and these settings.
    pub(crate) async fn connect(server: SocketAddr, with: &[(u16, u32)]) -> io::Result<Self> {
        Self::over(TcpStream::connect(server).await?, with).await
    }

    /// The same with as little room as the system gives for what is not read.
    pub(crate) async fn narrow(server: SocketAddr, with: &[(u16, u32)]) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(1)?;
        Self::over(socket.connect(server).await?, with).await
    }

    async fn over(mut io: TcpStream, with: &[(u16, u32)]) -> io::Result<Self> {
        io.set_nodelay(true)?;
        io.write_all(&[PREFACE, &settings(with)].concat()).await?;
        Ok(Self { io, heard: BytesMut::new() })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await
    }

    /// The next frame; none when the connection is closed.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some((frame, length)) = Frame::read(&self.heard) {
                self.heard.advance(length);
                return Ok(Some(frame));
            }
            if self.io.read_buf(&mut self.heard).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Answers what every client has to answer, if this is that.
    pub(crate) async fn answer(&mut self, heard: &Frame) -> io::Result<()> {
        match heard.kind {
            kind::PING if heard.flags & flag::ACK == 0 => {
                self.send(&frame(kind::PING, flag::ACK, 0, &heard.payload)).await
            }
            kind::SETTINGS if heard.flags & flag::ACK == 0 => {
                self.send(&frame(kind::SETTINGS, flag::ACK, 0, &[])).await
            }
            _ => Ok(()),
        }
    }

    /// Reads, and answers what has to be answered, until a frame is this.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> io::Result<Option<Frame>> {
        while let Some(heard) = self.next().await? {
            if wanted(&heard) {
                return Ok(Some(heard));
            }
            self.answer(&heard).await?;
        }
        Ok(None)
    }

    /// True if the server still answers a PING.
    pub(crate) async fn lives(&mut self) -> bool {
        let ours = *b"alive?!?";
        let pong = |heard: &Frame| heard.kind == kind::PING && heard.payload == ours;
        self.send(&frame(kind::PING, flag::NONE, 0, &ours)).await.is_ok()
            && matches!(self.until(pong).await, Ok(Some(_)))
    }

    /// Says this over and over and reads nothing, until the server has ended the
    /// connection.
    pub(crate) async fn shout(mut self, bytes: &[u8]) {
        while self.send(bytes).await.is_ok() {}
    }

    /// Says all this while it reads, until the server has ended the connection.
    /// None of it is an error here: being cut off is what abuse is for.
    pub(crate) async fn abuse(self, say: impl Iterator<Item = Vec<u8>>) -> End {
        let Self { mut io, mut heard } = self;
        let (mut read, mut write) = io.split();
        let mut end = End::default();
        let saying = async {
            for bytes in say {
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let hearing = async {
            loop {
                while let Some((frame, length)) = Frame::read(&heard) {
                    heard.advance(length);
                    if frame.kind == kind::GOAWAY {
                        end.goaway = frame.reason();
                    }
                }
                if !read.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
                    return;
                }
            }
        };
        tokio::join!(saying, hearing);
        end
    }
}
