//! Lists that a server returns as a whole.

use clap::Args;
use tonic::Status;

use super::OutputArgs;
use crate::cli::{
    Failure, Outcome, Problems, Terminal,
    args::server::ServerArgs,
    client::Client,
    output::{Printable, print_list},
};

/// The flags of a command that prints such a list.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl ListArgs {
    /// Prints what `list` returns.
    pub(super) async fn print<T: Printable>(
        self,
        mut problems: Problems,
        terminal: &mut Terminal<'_>,
        list: impl AsyncFnOnce(&Client) -> Result<Vec<T>, Status>,
    ) -> Result<Outcome, Failure> {
        let format = self.output.check(&mut problems);
        let (target, format) = self.server.finish(format, problems)?;
        let client = Client::connect(target).await?;
        let items = list(&client).await.map_err(|status| client.explain(&status))?;
        print_list(&items, format, "", terminal)?;
        Ok(Outcome::Success)
    }
}
