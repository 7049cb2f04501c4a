//! Many sessions on one line.

use std::{collections::BTreeMap, io, net::SocketAddr};

use headcount::proto::{
    HealthReport, HealthState, SessionRequest, SessionResponse, session_request::Message,
    session_response::Message as Answer,
};
use prost::Message as _;

use super::{Frame, HUGE_WINDOW, Line, SESSION, flag, frame, framed, header_block, kind, setting};

/// See the module's documentation.
pub(crate) struct Sessions {
    line: Line,
    streams: BTreeMap<u32, Stream>,
    said: u64,
}

/// What the server has said on one stream.
#[derive(Default)]
pub(crate) struct Stream {
    heard: Vec<u8>,
    welcomed: bool,
    acked: u64,
}

/// Gives the server all the room there is, once and for all: it will never wait
/// for a window.
pub(crate) async fn open_wide(mut line: Line) -> io::Result<Line> {
    let more = HUGE_WINDOW - 65_535;
    line.send(&frame(kind::WINDOW_UPDATE, flag::NONE, 0, &more.to_be_bytes())).await?;
    Ok(line)
}

impl Sessions {
    /// Connects, and says these hellos at once.
    pub(crate) async fn open(server: SocketAddr, hellos: impl Iterator<Item = Message>) -> io::Result<Self> {
        let line = Line::connect(server, &[(setting::INITIAL_WINDOW_SIZE, HUGE_WINDOW)]).await?;
        let mut sessions = Self { line: open_wide(line).await?, streams: BTreeMap::new(), said: 0 };
        let mut say = Vec::new();
        for (id, hello) in (1..).step_by(2).zip(hellos) {
            say.extend(frame(kind::HEADERS, flag::END_HEADERS, id, &header_block(SESSION)));
            say.extend(data(id, hello));
            sessions.streams.insert(id, Stream::default());
        }
        sessions.line.send(&say).await?;
        sessions.until(|stream| stream.welcomed).await?;
        Ok(sessions)
    }

    /// Reports this of all at once, and waits until all are acked.
    pub(crate) async fn report(&mut self, proxy: HealthState) -> io::Result<()> {
        self.said += 1;
        let report = HealthReport { sequence: self.said, proxy: proxy.into(), ..HealthReport::default() };
        let say: Vec<u8> =
            self.streams.keys().flat_map(|id| data(*id, Message::Health(report.clone()))).collect();
        self.line.send(&say).await?;
        let said = self.said;
        self.until(|stream| stream.acked >= said).await
    }

    /// Reads until that is true of all streams. The end of one is an error.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Stream) -> bool) -> io::Result<()> {
        let mut missing = self.streams.values().filter(|stream| !wanted(stream)).count();
        while missing > 0 {
            let heard = self.line.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.line.answer(&heard).await?;
            let Some(stream) = self.streams.get_mut(&heard.stream) else { continue };
            let before = wanted(stream);
            stream.hear(&heard)?;
            missing -= usize::from(!before && wanted(stream));
        }
        Ok(())
    }
}

impl Stream {
    fn hear(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.kind == kind::RST_STREAM || frame.flags & flag::END_STREAM != 0 {
            return Err(io::Error::other("the server has ended a session"));
        }
        if frame.kind != kind::DATA {
            return Ok(());
        }
        self.heard.extend_from_slice(&frame.payload);
        while let Some((head, rest)) = self.heard.split_first_chunk::<5>() {
            let [_, length @ ..] = *head;
            let length = usize::try_from(u32::from_be_bytes(length)).expect("32 bits");
            let Some(message) = rest.get(..length) else { break };
            match SessionResponse::decode(message).map_err(io::Error::other)?.message {
                Some(Answer::Welcome(_)) => self.welcomed = true,
                Some(Answer::Ack(ack)) => self.acked = ack.sequence,
                _ => {}
            }
            self.heard.drain(..5 + length);
        }
        Ok(())
    }
}

fn data(stream: u32, message: Message) -> Vec<u8> {
    frame(kind::DATA, flag::NONE, stream, &framed(&SessionRequest { message: Some(message) }))
}
