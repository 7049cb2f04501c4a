//! `--server` and `--request-timeout`, the flags of every command that calls a server.

use std::time::Duration;

use clap::Args;

use super::{Parsed, Problems, period::NonZeroPeriod, server_url::ServerUrl};

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Server")]
pub(in crate::cli) struct ServerArgs {
    /// gRPC address of the server: http://HOST:PORT, HOST:PORT or HOST
    #[arg(long, value_name = "ADDRESS", default_value = "http://127.0.0.1:7100")]
    server: Parsed<ServerUrl>,
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
    /// Longest time for the response to one request.
    pub(in crate::cli) request_timeout: Duration,
}

impl ServerArgs {
    /// Returns the target, or adds the invalid flags to `problems`.
    pub(in crate::cli) fn check(self, problems: &mut Problems) -> Option<Target> {
        let server = problems.take("server", self.server);
        let request_timeout = problems.take("request-timeout", self.request_timeout);
        Some(Target { server: server?, request_timeout: request_timeout?.into() })
    }
}
