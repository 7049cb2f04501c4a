//! Following a stream for as long as the user stays, whatever the server does.

use std::{convert::Infallible, io};

use tonic::{Status, Streaming};

use crate::{
    cli::{
        Failure, Terminal,
        client::{Client, is_passing},
        terminal::visible,
    },
    net::backoff::{Backoff, Policy, retry_after},
};

/// Something to follow.
pub(super) trait Feed {
    /// What the server sends.
    type Message;

    /// Opens a stream that goes on from what has been handled.
    async fn open(&mut self, client: &Client) -> Result<Streaming<Self::Message>, Status>;

    /// Handles a message. What a stream that ends leaves unfinished must be
    /// forgotten by the next [`Feed::open`].
    fn handle(&mut self, message: Self::Message, terminal: &mut Terminal<'_>) -> io::Result<()>;
}

/// Follows a feed. A server that cannot be asked at all is a failure; one that
/// goes away later is waited for.
pub(super) async fn follow(
    client: &Client,
    mut feed: impl Feed,
    terminal: &mut Terminal<'_>,
) -> Result<Infallible, Failure> {
    let opened = feed.open(client).await;
    let mut stream = opened.map_err(|status| client.explain(&status))?;
    let mut backoff = Backoff::new(Policy::Reader);
    loop {
        let end = loop {
            match stream.message().await {
                Ok(Some(message)) => feed.handle(message, terminal)?,
                Ok(None) => break Status::unavailable("the server ended the watch"),
                Err(status) => break status,
            }
            // Only a stream that says something is a success: one that opens
            // and breaks, again and again, is asked for ever less often.
            backoff.reset();
        };
        stream = reopen(client, &mut feed, end, &mut backoff, terminal).await?;
    }
}

/// Opens the stream anew, with growing delays, until the server is back.
async fn reopen<F: Feed>(
    client: &Client,
    feed: &mut F,
    mut end: Status,
    backoff: &mut Backoff,
    terminal: &mut Terminal<'_>,
) -> Result<Streaming<F::Message>, Failure> {
    if is_passing(&end) {
        let reason = visible(end.message());
        terminal.remark(format_args!("watch interrupted ({reason}); reconnecting"))?;
    }
    while is_passing(&end) {
        tokio::time::sleep(backoff.next(retry_after(&end))).await;
        match feed.open(client).await {
            Ok(stream) => {
                terminal.remark("reconnected")?;
                return Ok(stream);
            }
            Err(status) => end = status,
        }
    }
    Err(client.explain(&end))
}
