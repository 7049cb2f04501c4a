//! One proxy of the fleet: a session over hand-written HTTP/2 frames, in about 3 KB of memory, that follows
//! its desired state and reconnects by itself.

use std::{io, net::SocketAddr, time::Duration};

use headcount::proto::{Dataplane, HealthReport, HealthState, SessionRequest, session_request::Message};
use tokio::{io::AsyncWriteExt as _, sync::watch, time::sleep};

use crate::{
    http2::{Connection, HUGE_WINDOW, SESSION, flag, frame, framed, header_block, kind, setting},
    support::hello,
};

/// The state that the test wants a member to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DesiredState {
    pub(crate) presence: Presence,
    pub(crate) healthy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Connected, and responds.
    Connected,
    /// Keeps its connection open, but neither reads nor writes, as after SIGSTOP.
    Stopped,
    /// Disconnected by a TCP RST, and does not reconnect.
    Reset,
    /// Disconnected by a TCP FIN, and does not reconnect.
    Closed,
}

impl DesiredState {
    /// Connected and healthy.
    pub(crate) const HEALTHY: Self = Self { presence: Presence::Connected, healthy: true };
}

/// Follows the desired state until its sender is dropped.
pub(crate) async fn run(server: SocketAddr, dataplane: Dataplane, mut states: watch::Receiver<DesiredState>) {
    while states.wait_for(|state| state.presence == Presence::Connected).await.is_ok() {
        // The reason does not matter: the verifier checks the counts.
        let _ended = connect_once(server, &dataplane, &mut states).await;
        if states.borrow().presence == Presence::Connected {
            sleep(Duration::from_millis(fastrand::u64(200..1_200))).await; // backoff
        }
    }
}

/// Runs one connection to its end.
async fn connect_once(
    server: SocketAddr,
    dataplane: &Dataplane,
    states: &mut watch::Receiver<DesiredState>,
) -> io::Result<()> {
    let mut connection = Connection::connect(server, &[(setting::INITIAL_WINDOW_SIZE, HUGE_WINDOW)]).await?;
    let (mut sequence, mut healthy) = (1, states.borrow().healthy);
    let increment = HUGE_WINDOW - 65_535;
    let opening = [
        frame(kind::WINDOW_UPDATE, flag::NONE, 0, &increment.to_be_bytes()),
        frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(SESSION)),
        data(hello(dataplane.clone())),
        data(report(sequence, healthy)),
    ];
    connection.send(&opening.concat()).await?;
    loop {
        let state = *states.borrow_and_update();
        match state.presence {
            Presence::Connected if state.healthy != healthy => {
                (sequence, healthy) = (sequence + 1, state.healthy);
                connection.send(&data(report(sequence, healthy))).await?;
            }
            Presence::Connected => {}
            Presence::Stopped => {
                states.changed().await.map_err(io::Error::other)?;
                continue;
            }
            Presence::Reset => return connection.io.set_zero_linger(),
            Presence::Closed => {
                connection.io.shutdown().await?;
                // Read everything first: closing a socket with unread data sends a RST.
                while connection.next_frame().await?.is_some() {}
                return Ok(());
            }
        }
        tokio::select! {
            changed = states.changed() => changed.map_err(io::Error::other)?,
            frame = connection.next_frame() => {
                let frame = frame?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let is_over = frame.kind == kind::RST_STREAM
                    || frame.stream == 1 && frame.flags & flag::END_STREAM != 0;
                if is_over || frame.kind == kind::GOAWAY {
                    return Ok(());
                }
                connection.acknowledge(&frame).await?;
            }
        }
    }
}

fn report(sequence: u64, healthy: bool) -> Message {
    let state = if healthy { HealthState::Ready } else { HealthState::NotReady };
    Message::Health(HealthReport { sequence, proxy: state.into(), ..HealthReport::default() })
}

fn data(message: Message) -> Vec<u8> {
    frame(kind::DATA, flag::NONE, 1, &framed(&SessionRequest { message: Some(message) }))
}
