//! An informer for tests: it watches the Workloads of a server with kube-rs, as controllers do, and
//! prints each event as a line of JSON.
//!
//! ```sh
//! informer http://127.0.0.1:7102          # a list, then a watch
//! informer http://127.0.0.1:7102 stream   # a watch with initial events (streaming list)
//! ```

use std::{env, pin::pin};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use kube::{
    Api, Client, Config,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let url = args.next().context("usage: informer URL [stream]")?;
    if url == "--version" {
        println!("informer {}", option_env!("INFORMER_VERSION").unwrap_or("unknown"));
        return Ok(());
    }
    let streams = args.next().is_some_and(|arg| arg == "stream");

    let client = Client::try_from(Config::new(url.parse()?))?;
    let workload = ApiResource::from_gvk(&GroupVersionKind::gvk("kuma.io", "v1alpha1", "Workload"));
    let workloads: Api<DynamicObject> = Api::all_with(client, &workload);
    let config = watcher::Config::default();
    let config = if streams { config.streaming_lists() } else { config };

    let mut events = pin!(watcher(workloads, config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => println!("{}", json!({"event": "init"})),
            Ok(Event::InitApply(workload)) => print_event("init-apply", &workload),
            Ok(Event::InitDone) => println!("{}", json!({"event": "init-done"})),
            Ok(Event::Apply(workload)) => print_event("apply", &workload),
            Ok(Event::Delete(workload)) => print_event("delete", &workload),
            Err(error) => eprintln!("error: {error}"),
        }
    }
    Ok(())
}

fn print_event(event: &str, workload: &DynamicObject) {
    let counts = &workload.data["status"]["dataplaneProxies"];
    let count = |of: &str| counts.get(of).cloned().unwrap_or(Value::Null);
    println!(
        "{}",
        json!({
            "event": event,
            "namespace": workload.metadata.namespace,
            "name": workload.metadata.name,
            "uid": workload.metadata.uid,
            "resourceVersion": workload.metadata.resource_version,
            "counts": [count("connected"), count("healthy"), count("total")],
        })
    );
}
