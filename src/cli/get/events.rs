//! `headcount get events`.

use std::{collections::HashMap, io};

use clap::{ArgAction, Args};
use tonic::{Status, Streaming};

use super::{
    OutputArgs,
    follow::{Feed, follow},
    scope::{NamespaceArgs, Scope},
};
use crate::{
    cli::{
        Failure, Format, Outcome, Parsed, Problems, Terminal,
        client::{Client, ClientArgs, Target},
        output::{ChangeType, Watched, print_list},
    },
    proto::{Event, ListEventsRequest, WatchEventsRequest, WatchEventsResponse},
};

/// Show warnings about workloads, such as one name claimed by several meshes
///
/// The server keeps the newest 1,000 events in memory, each once with a count.
/// The most recently seen comes last.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get events -A
  headcount get events -w                      go on and show each event when it happens")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Go on and show each event when it happens, until Ctrl-C
    #[arg(short, long, action = ArgAction::SetTrue)]
    watch: Parsed<bool>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was asked, understood.
struct Query {
    target: Target,
    scope: Scope,
    format: Format,
    watch: bool,
}

impl EventsArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let Query { target, scope, format, watch } = self.check(problems)?;
        let client = target.connect().await?;
        let namespace = scope.namespace();
        if watch {
            let watched = Watched::new(format, scope.place());
            let feed = EventFeed { namespace, counts: HashMap::new(), watched };
            let Err(failure) = follow(&client, feed, terminal).await;
            return Err(failure);
        }
        let request = ListEventsRequest { namespace, ..ListEventsRequest::default() };
        let answer = client.in_time(client.events().list_events(request)).await;
        let events = answer.map_err(|status| client.explain(&status))?.events;
        print_list(&events, format, &scope.place(), terminal)?;
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<Query, Failure> {
        let scope = self.namespace.check("", &mut problems);
        let format = self.output.check(&mut problems);
        let watch = problems.take("watch", self.watch);
        let target = self.client.check(&mut problems);
        let (Some(scope), Some(format), Some(watch), Some(target)) = (scope, format, watch, target) else {
            return Err(problems.into());
        };
        problems.finish()?;
        Ok(Query { target, scope, format, watch })
    }
}

/// A watch of events. A stream begins with all there are, so what was shown
/// before a reconnect is known by how often it had happened.
struct EventFeed {
    namespace: String,
    /// By uid; the server keeps 1,000, so this grows only as events do.
    counts: HashMap<String, u64>,
    watched: Watched<Event>,
}

impl Feed for EventFeed {
    type Message = WatchEventsResponse;

    async fn open(&mut self, client: &Client) -> Result<Streaming<WatchEventsResponse>, Status> {
        let request =
            WatchEventsRequest { namespace: self.namespace.clone(), ..WatchEventsRequest::default() };
        client.in_time(client.events().watch_events(request)).await
    }

    fn handle(&mut self, message: WatchEventsResponse, terminal: &mut Terminal<'_>) -> io::Result<()> {
        let mut changes = Vec::with_capacity(message.events.len());
        for event in &message.events {
            match self.counts.insert(event.uid.clone(), event.count) {
                None => changes.push((ChangeType::Added, event)),
                Some(count) if count == event.count => {}
                Some(_) => changes.push((ChangeType::Modified, event)),
            }
        }
        self.watched.print(changes, terminal)
    }
}
