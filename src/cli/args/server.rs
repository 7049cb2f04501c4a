//! `--server` and `--request-timeout`: which server a command calls, and for how long it waits.

use std::time::Duration;

use clap::Args;

use super::{Parsed, Problems, period::NonZeroPeriod, security::SecurityArgs, server_url::ServerUrl};
use crate::{cli::Failure, net::client::ServerEndpoint};

/// The server to connect to, and the client's credentials.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct EndpointArgs {
    /// gRPC address of the server: https://HOST:PORT (TLS), http://HOST:PORT, HOST:PORT or HOST
    ///
    /// The default is that of the context, or else <http://127.0.0.1:7100>.
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Parsed<ServerUrl>>,
    #[command(flatten)]
    security: SecurityArgs,
}

/// The flags of every command that calls a server.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct ServerArgs {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// Longest time to wait for the response to one request
    ///
    /// A watch must start within this time; it is not limited afterwards.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    request_timeout: Parsed<NonZeroPeriod>,
}

/// A server to call.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Target {
    pub(in crate::cli) server: ServerUrl,
    pub(in crate::cli) endpoint: ServerEndpoint,
    /// Longest time for the response to one request.
    pub(in crate::cli) request_timeout: Duration,
}

impl EndpointArgs {
    /// Returns the server's URL and how to connect to it, or adds what is wrong to `problems`.
    pub(in crate::cli) fn check(self, problems: &mut Problems) -> Option<(ServerUrl, ServerEndpoint)> {
        self.check_or(|_| Some(ServerUrl::default()), problems)
    }

    /// Like [`EndpointArgs::check`]; `default` is the server if neither a flag nor a context names one.
    fn check_or(
        self,
        default: impl FnOnce(&mut Problems) -> Option<ServerUrl>,
        problems: &mut Problems,
    ) -> Option<(ServerUrl, ServerEndpoint)> {
        let mut security = self.security.resolve(self.server.is_some(), problems)?;
        let server = self.server.or(security.server.take());
        let url = match server {
            Some(url) => problems.take("server", url),
            None => default(problems),
        }?;
        let (tls, token) = security.check(&url, problems)?;
        let endpoint = ServerEndpoint::new(url.uri(), tls, token);
        Some((url, endpoint))
    }
}

impl ServerArgs {
    /// Returns the target, or adds the invalid flags to `problems`.
    fn check(self, problems: &mut Problems) -> Option<Target> {
        self.check_or(|_| Some(ServerUrl::default()), problems)
    }

    /// Ends the checks of a command that calls a server: returns the target, and what the command has
    /// checked, which is `None` if it is invalid.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] with all problems, if there are any.
    pub(in crate::cli) fn finish<T>(
        self,
        checked: Option<T>,
        mut problems: Problems,
    ) -> Result<(Target, T), Failure> {
        let (Some(target), Some(checked)) = (self.check(&mut problems), checked) else {
            return Err(problems.into());
        };
        problems.finish()?;
        Ok((target, checked))
    }

    /// Like [`ServerArgs::check`], for a command that can also work without a server: one must be named by
    /// a flag, a variable or a context. `missing` is the problem if none is.
    pub(in crate::cli) fn check_named(self, missing: &str, problems: &mut Problems) -> Option<Target> {
        let none = |problems: &mut Problems| {
            problems.note_text(missing);
            None
        };
        self.check_or(none, problems)
    }

    /// The flag of the command line that names the server, if there is one. What the environment and files
    /// set is meant for all commands, and not counted.
    pub(in crate::cli) fn flag(&self, problems: &Problems) -> Option<&'static str> {
        let set =
            [("server", self.endpoint.server.is_some()), ("context", self.endpoint.security.has_context())];
        set.into_iter().find_map(|(flag, is_set)| (is_set && problems.is_from_flag(flag)).then_some(flag))
    }

    fn check_or(
        self,
        default: impl FnOnce(&mut Problems) -> Option<ServerUrl>,
        problems: &mut Problems,
    ) -> Option<Target> {
        let checked = self.endpoint.check_or(default, problems);
        let request_timeout = problems.take("request-timeout", self.request_timeout);
        let (server, endpoint) = checked?;
        Some(Target { server, endpoint, request_timeout: request_timeout?.into() })
    }
}
