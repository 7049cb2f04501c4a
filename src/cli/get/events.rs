//! `headcount get events`.

use std::{
    collections::{HashMap, HashSet},
    io,
};

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
        args::{
            server::{ServerArgs, Target},
            switch::Switch,
        },
        client::Client,
        output::{ChangeType, WatchPrinter, print_list},
    },
    proto::{
        Event, ListEventsRequest, WatchEventsRequest, WatchEventsResponse, watch_stream::KEEPALIVE_INTERVAL,
    },
};

/// Show warnings about workloads and dataplanes, such as a name used by two meshes
///
/// The server keeps at most 1,000 events in memory. Repeated events are counted. The
/// event that occurred last is printed last.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get events -A
  headcount get events -w                      print each event when it occurs")]
pub(super) struct EventsArgs {
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Print each event when it occurs, until Ctrl-C
    #[arg(short, long, action = ArgAction::SetTrue)]
    watch: Parsed<Switch>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The checked flags.
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
        let client = Client::connect(target).await?;
        let namespace = scope.namespace();
        if watch {
            let printer = WatchPrinter::new(format, scope.place());
            let feed = EventFeed { namespace, counts: HashMap::new(), starts: true, printer };
            let Err(failure) = follow(&client, feed, terminal).await;
            return Err(failure);
        }
        let request = ListEventsRequest { namespace, ..ListEventsRequest::default() };
        let response = client.with_timeout(client.events().list_events(request)).await;
        let events = response.map_err(|status| client.explain(&status))?.events;
        print_list(&events, format, &scope.place(), terminal)?;
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<Query, Failure> {
        let scope = self.namespace.check("", &mut problems);
        let format = self.output.check(&mut problems);
        let watch = problems.take("watch", self.watch);
        let checked = scope.zip(format).zip(watch);
        let (target, ((scope, format), Switch(watch))) = self.server.finish(checked, problems)?;
        Ok(Query { target, scope, format, watch })
    }
}

/// Counts that are kept before those of older events are dropped: more than the events that a
/// server keeps, which may then be printed as new if they occur again.
const MAX_COUNTS: usize = 10_000;

/// A watch of events. Each stream starts with all events, so after a reconnect the counts tell
/// which of them were already printed.
struct EventFeed {
    namespace: String,
    /// Occurrences of each event that were printed, by uid.
    counts: HashMap<String, u64>,
    /// The next message is the first of its stream, and has all events that the server keeps.
    starts: bool,
    printer: WatchPrinter<Event>,
}

impl Feed for EventFeed {
    type Message = WatchEventsResponse;

    async fn open(&mut self, client: &Client) -> Result<Streaming<WatchEventsResponse>, Status> {
        let request = WatchEventsRequest {
            namespace: self.namespace.clone(),
            keepalive_interval: Some(KEEPALIVE_INTERVAL),
            ..WatchEventsRequest::default()
        };
        self.starts = true;
        client.with_timeout(client.events().watch_events(request)).await
    }

    fn handle(&mut self, message: WatchEventsResponse, terminal: &mut Terminal<'_>) -> io::Result<()> {
        // A keep-alive.
        if message.events.is_empty() {
            return Ok(());
        }
        let mut changes = Vec::with_capacity(message.events.len());
        if std::mem::take(&mut self.starts) || self.counts.len() > MAX_COUNTS {
            let kept: HashSet<_> = message.events.iter().map(|event| event.uid.as_str()).collect();
            self.counts.retain(|uid, _| kept.contains(uid.as_str()));
        }
        for event in &message.events {
            match self.counts.insert(event.uid.clone(), event.count) {
                None => changes.push((ChangeType::Added, event)),
                Some(count) if count == event.count => {}
                Some(_) => changes.push((ChangeType::Modified, event)),
            }
        }
        self.printer.print(changes, terminal)
    }
}
