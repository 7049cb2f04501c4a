//! One proxy of the fleet: a session over HTTP/2 by hand, some 3 KB of memory,
//! that does as it is told and comes back by itself.

use std::{io, net::SocketAddr, time::Duration};

use headcount::proto::{Dataplane, HealthReport, HealthState, SessionRequest, session_request::Message};
use tokio::{io::AsyncWriteExt as _, sync::watch, time::sleep};

use crate::{
    http2::{Connection, HUGE_WINDOW, SESSION, flag, frame, framed, header_block, kind, setting},
    support::hello,
};

/// What a member is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) presence: Presence,
    pub(crate) healthy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Connected, and answers.
    Here,
    /// Holds its connection, but neither reads nor writes, as after SIGSTOP.
    Stopped,
    /// Its connection is cut by a RST, and it stays away.
    Reset,
    /// Its connection ends with a FIN, and it stays away.
    Closed,
}

impl Order {
    /// All is well.
    pub(crate) const WELL: Self = Self { presence: Presence::Here, healthy: true };
}

/// Lives by its orders, until they are no longer given.
pub(crate) async fn live(server: SocketAddr, dataplane: Dataplane, mut orders: watch::Receiver<Order>) {
    while orders.wait_for(|order| order.presence == Presence::Here).await.is_ok() {
        // Why it was cut off is the test's to know: the numbers tell.
        let _cut_off = visit(server, &dataplane, &mut orders).await;
        if orders.borrow().presence == Presence::Here {
            sleep(Duration::from_millis(fastrand::u64(200..1_200))).await; // its backoff
        }
    }
}

/// One connection, from its begin to its end.
async fn visit(
    server: SocketAddr,
    dataplane: &Dataplane,
    orders: &mut watch::Receiver<Order>,
) -> io::Result<()> {
    let mut line = Connection::connect(server, &[(setting::INITIAL_WINDOW_SIZE, HUGE_WINDOW)]).await?;
    let (mut sequence, mut healthy) = (1, orders.borrow().healthy);
    let more = HUGE_WINDOW - 65_535;
    let say = [
        frame(kind::WINDOW_UPDATE, flag::NONE, 0, &more.to_be_bytes()),
        frame(kind::HEADERS, flag::END_HEADERS, 1, &header_block(SESSION)),
        said(hello(dataplane.clone())),
        said(report(sequence, healthy)),
    ];
    line.send(&say.concat()).await?;
    loop {
        let order = *orders.borrow_and_update();
        match order.presence {
            Presence::Here if order.healthy != healthy => {
                (sequence, healthy) = (sequence + 1, order.healthy);
                line.send(&said(report(sequence, healthy))).await?;
            }
            Presence::Here => {}
            Presence::Stopped => {
                orders.changed().await.map_err(io::Error::other)?;
                continue;
            }
            Presence::Reset => return line.io.set_zero_linger(),
            Presence::Closed => {
                line.io.shutdown().await?;
                // With something unread, the end would be a RST.
                while line.next_frame().await?.is_some() {}
                return Ok(());
            }
        }
        tokio::select! {
            changed = orders.changed() => changed.map_err(io::Error::other)?,
            heard = line.next_frame() => {
                let heard = heard?.ok_or(io::ErrorKind::UnexpectedEof)?;
                let over = heard.kind == kind::RST_STREAM
                    || heard.stream == 1 && heard.flags & flag::END_STREAM != 0;
                if over || heard.kind == kind::GOAWAY {
                    return Ok(());
                }
                line.acknowledge(&heard).await?;
            }
        }
    }
}

fn report(sequence: u64, healthy: bool) -> Message {
    let state = if healthy { HealthState::Ready } else { HealthState::NotReady };
    Message::Health(HealthReport { sequence, proxy: state.into(), ..HealthReport::default() })
}

fn said(message: Message) -> Vec<u8> {
    frame(kind::DATA, flag::NONE, 1, &framed(&SessionRequest { message: Some(message) }))
}
