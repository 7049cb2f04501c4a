//! Many sessions on one connection.

use std::{collections::BTreeMap, io, net::SocketAddr};

use headcount::proto::{
    HealthReport, HealthState, SessionRequest, SessionResponse, session_request::Message,
    session_response::Message as Response,
};
use prost::Message as _;

use super::{Connection, Frame, HUGE_WINDOW, SESSION, flag, frame, framed, header_block, kind, setting};

/// Dataplane sessions that share one connection and report together.
pub(crate) struct Sessions {
    connection: Connection,
    streams: BTreeMap<u32, Stream>,
    sequence: u64,
}

/// What the server has sent on one stream.
#[derive(Default)]
pub(crate) struct Stream {
    received: Vec<u8>,
    welcomed: bool,
    acked: u64,
}

/// Opens the connection's flow-control window fully, so that the server never waits for it.
pub(crate) async fn open_connection_window(mut connection: Connection) -> io::Result<Connection> {
    let more = HUGE_WINDOW - 65_535;
    connection.send(&frame(kind::WINDOW_UPDATE, flag::NONE, 0, &more.to_be_bytes())).await?;
    Ok(connection)
}

impl Sessions {
    /// Connects, sends all these hellos at once, and waits for all welcomes.
    pub(crate) async fn open(server: SocketAddr, hellos: impl Iterator<Item = Message>) -> io::Result<Self> {
        let connection = Connection::connect(server, &[(setting::INITIAL_WINDOW_SIZE, HUGE_WINDOW)]).await?;
        let connection = open_connection_window(connection).await?;
        let mut sessions = Self { connection, streams: BTreeMap::new(), sequence: 0 };
        let mut bytes = Vec::new();
        for (id, hello) in (1..).step_by(2).zip(hellos) {
            bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, id, &header_block(SESSION)));
            bytes.extend(data(id, hello));
            sessions.streams.insert(id, Stream::default());
        }
        sessions.connection.send(&bytes).await?;
        sessions.read_until(|stream| stream.welcomed).await?;
        Ok(sessions)
    }

    /// Sends a report for every session at once, and waits for all acks.
    pub(crate) async fn report(&mut self, proxy: HealthState) -> io::Result<()> {
        self.sequence += 1;
        let report = HealthReport { sequence: self.sequence, proxy: proxy.into(), ..HealthReport::default() };
        let bytes: Vec<u8> =
            self.streams.keys().flat_map(|id| data(*id, Message::Health(report.clone()))).collect();
        self.connection.send(&bytes).await?;
        let sequence = self.sequence;
        self.read_until(|stream| stream.acked >= sequence).await
    }

    /// Reads until `wanted` holds for every stream. The end of one is an error.
    pub(crate) async fn read_until(&mut self, wanted: impl Fn(&Stream) -> bool) -> io::Result<()> {
        let mut missing = self.streams.values().filter(|stream| !wanted(stream)).count();
        while missing > 0 {
            let received = self.connection.next_frame().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.connection.acknowledge(&received).await?;
            let Some(stream) = self.streams.get_mut(&received.stream) else { continue };
            let before = wanted(stream);
            stream.receive(&received)?;
            missing -= usize::from(!before && wanted(stream));
        }
        Ok(())
    }
}

impl Stream {
    fn receive(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.kind == kind::RST_STREAM || frame.flags & flag::END_STREAM != 0 {
            return Err(io::Error::other("the server has ended a session"));
        }
        if frame.kind != kind::DATA {
            return Ok(());
        }
        self.received.extend_from_slice(&frame.payload);
        while let Some((head, rest)) = self.received.split_first_chunk::<5>() {
            let [_, length @ ..] = *head;
            let length = usize::try_from(u32::from_be_bytes(length)).expect("32 bits");
            let Some(message) = rest.get(..length) else { break };
            match SessionResponse::decode(message).map_err(io::Error::other)?.message {
                Some(Response::Welcome(_)) => self.welcomed = true,
                Some(Response::Ack(ack)) => self.acked = ack.sequence,
                _ => {}
            }
            self.received.drain(..5 + length);
        }
        Ok(())
    }
}

fn data(stream: u32, message: Message) -> Vec<u8> {
    frame(kind::DATA, flag::NONE, stream, &framed(&SessionRequest { message: Some(message) }))
}
