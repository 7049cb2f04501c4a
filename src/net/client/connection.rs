//! A connection that sends the client's token with each call.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::header::AUTHORIZATION;
use tokio::sync::watch;
use tonic::{body::Body, transport::Channel};
use tower::Service;

use super::{
    problem::ConnectProblem,
    state::ConnectionState,
    token_file::{Token, TokenFile},
};

/// A channel to a server, and the source of the token that is sent with each call. Clones share the channel.
#[derive(Debug, Clone)]
pub struct Connection {
    channel: Channel,
    token: Option<TokenSource>,
    state: ConnectionState,
}

/// Where the present token is.
#[derive(Debug, Clone)]
enum TokenSource {
    File(TokenFile),
    Channel(watch::Receiver<String>),
}

impl Connection {
    pub(super) fn new(channel: Channel, token: Option<TokenFile>, state: ConnectionState) -> Self {
        Self { channel, token: token.map(TokenSource::File), state }
    }

    /// The same connection, with the token of this file.
    #[cfg(test)]
    pub(crate) fn with_token_file(self, file: &std::path::Path) -> Self {
        Self { token: Some(TokenSource::File(TokenFile::new(file))), ..self }
    }

    /// The same connection, with the latest token of a channel, for a client whose tokens are not in a
    /// file.
    #[must_use]
    pub fn with_tokens(self, tokens: watch::Receiver<String>) -> Self {
        Self { token: Some(TokenSource::Channel(tokens)), ..self }
    }

    /// Reads the token to send now; none if the client has none.
    ///
    /// # Errors
    ///
    /// If the file can't be read, or has not exactly one token.
    pub(crate) async fn token(&self) -> Result<Option<Token>, ConnectProblem> {
        match &self.token {
            Some(TokenSource::File(file)) => file.read_async().await.map(Some),
            Some(TokenSource::Channel(tokens)) => Ok(Token::new(&tokens.borrow())),
            None => Ok(None),
        }
    }
}

/// A connection without a token.
impl From<Channel> for Connection {
    fn from(channel: Channel) -> Self {
        Self::new(channel, None, ConnectionState::default())
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    /// Sends a call with the token of the file. A caller that needs to know the token puts an
    /// `Option<Token>` that it has read into the request's extensions.
    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let known = request.extensions_mut().remove::<Option<Token>>();
        if let Some(token) = known.or(self.token.is_none().then_some(None)) {
            set(&mut request, token);
            return Box::pin(forward(self.channel.call(request), self.state.clone()));
        }
        // `self.channel` is the one that is ready.
        let clone = self.clone();
        let mut ready = std::mem::replace(self, clone);
        Box::pin(async move {
            let token = ready.token().await?;
            set(&mut request, token);
            forward(ready.channel.call(request), ready.state).await
        })
    }
}

fn set(request: &mut http::Request<Body>, token: Option<Token>) {
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.header());
    }
}

/// Waits for the response to a call, at most until its connection has been closed. The error of a failed
/// call is replaced by the reason why its connection failed.
async fn forward<T, E: Into<BoxError>>(
    call: impl Future<Output = Result<T, E>>,
    state: ConnectionState,
) -> Result<T, BoxError> {
    tokio::select! {
        biased;
        response = call => response.map_err(|error| state.problem().map_or_else(|| error.into(), Into::into)),
        problem = state.stranded() => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_queued_for_a_closed_connection_ends() {
        let state = ConnectionState::default();
        drop(state.opening());
        let call = pending::<Result<(), BoxError>>();
        let error = forward(call, state).await.unwrap_err();
        assert_eq!(
            ConnectProblem::of(&*error).unwrap().problem,
            "the server closed the connection without an answer"
        );
    }
}
