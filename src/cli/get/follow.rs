//! Follows a watch until Ctrl-C, and reconnects when it is interrupted.

use std::{convert::Infallible, io};

use tonic::{Status, Streaming};

use crate::{
    cli::{
        Failure, Terminal,
        client::{Client, is_transient},
        terminal::visible,
    },
    net::backoff::{Backoff, Policy, retry_after},
    proto::watch_stream::{WatchResponse, WatchStream},
};

/// A watch that can be resumed.
pub(super) trait Feed {
    /// A message of the stream.
    type Message: WatchResponse;

    /// Opens a stream that continues after the messages handled so far.
    async fn open(&mut self, client: &Client) -> Result<Streaming<Self::Message>, Status>;

    /// Handles a message. If a stream ends within a batch of messages, the next
    /// [`Feed::open`] must discard the batch.
    fn handle(&mut self, message: Self::Message, terminal: &mut Terminal<'_>) -> io::Result<()>;
}

/// Follows a feed. It fails if the first stream can't be opened; later interruptions are retried.
pub(super) async fn follow(
    client: &Client,
    mut feed: impl Feed,
    terminal: &mut Terminal<'_>,
) -> Result<Infallible, Failure> {
    let opened = feed.open(client).await;
    let mut stream = WatchStream::new(opened.map_err(|status| client.explain(&status))?);
    let mut backoff = Backoff::new(Policy::Reader);
    loop {
        let end = loop {
            match stream.message().await {
                Ok(Some(message)) => feed.handle(message, terminal)?,
                Ok(None) => break Status::unavailable("the server ended the watch"),
                Err(status) => break status,
            }
            // Only a message is a success: a stream that opens and breaks again and again
            // must not be retried without backoff.
            backoff.reset();
        };
        stream = WatchStream::new(reopen(client, &mut feed, end, &mut backoff, terminal).await?);
    }
}

/// Opens the stream again, with growing delays, until it succeeds or the error is permanent.
async fn reopen<F: Feed>(
    client: &Client,
    feed: &mut F,
    mut end: Status,
    backoff: &mut Backoff,
    terminal: &mut Terminal<'_>,
) -> Result<Streaming<F::Message>, Failure> {
    if is_transient(&end) {
        let reason = visible(end.message());
        terminal.remark(format_args!("watch interrupted ({reason}); reconnecting"));
    }
    while is_transient(&end) {
        tokio::time::sleep(backoff.next(retry_after(&end))).await;
        match feed.open(client).await {
            Ok(stream) => {
                terminal.remark("reconnected");
                return Ok(stream);
            }
            Err(status) => end = status,
        }
    }
    Err(client.explain(&end))
}
