//! A client whose watch is disconnected after any line, and which resumes at that line's
//! resourceVersion, ends with exactly the objects that exist.

use std::collections::BTreeMap;

use headcount::registry::Session;
use serde_json::Value;

use crate::support::{Server, WORKLOADS, names, report};

/// Names of Workloads that are created and deleted.
const NAMES: [&str; 3] = ["w1", "w5", "w9"];
const LAST: &str = "zz-last";

/// The sessions by Workload name, each with its number of reports.
#[derive(Default)]
struct World(BTreeMap<&'static str, (Session, u64)>);

impl World {
    /// Performs between 1 and `most` random changes, which depend on the seed only.
    fn change(&mut self, server: &Server, random: &mut fastrand::Rng, most: usize) {
        for _ in 0..random.usize(1..=most) {
            let name = NAMES[random.usize(0..NAMES.len())];
            match self.0.remove(name) {
                None => drop(self.0.insert(name, (server.join(name, 1), 0))),
                Some((session, _)) if random.bool() => session.goodbye(),
                Some((mut session, reports)) => {
                    report(&mut session, reports + 1, reports % 2 == 0);
                    self.0.insert(name, (session, reports + 1));
                }
            }
        }
    }
}

/// What a client's cache holds: the uid and numbers of each object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cache(BTreeMap<String, (String, Value)>);

impl Cache {
    fn apply(&mut self, line: &Value) {
        let object = &line["object"];
        let [name, uid] = ["name", "uid"].map(|key| object["metadata"][key].as_str().unwrap().to_owned());
        let known = self.0.get(&name).map(|(uid, _)| uid.clone());
        match line["type"].as_str().unwrap() {
            "ADDED" => assert_eq!(known, None, "already in the cache: {line}"),
            "MODIFIED" | "DELETED" => assert_eq!(known.as_ref(), Some(&uid), "not in the cache: {line}"),
            other => panic!("{other}"),
        }
        if line["type"] == "DELETED" {
            self.0.remove(&name);
        } else {
            self.0.insert(name, (uid, object["status"].clone()));
        }
    }
}

/// Lists all Workloads; returns the cache and the resourceVersion of the list.
async fn list(server: &Server) -> (Cache, u64) {
    let list = server.get(WORKLOADS).await.json();
    let mut cache = Cache::default();
    for item in list["items"].as_array().unwrap() {
        cache.apply(&serde_json::json!({"type": "ADDED", "object": item}));
    }
    assert_eq!(names(&list).len(), cache.0.len());
    (cache, list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
}

/// Watches from a resourceVersion, and returns all lines up to now.
async fn lines(server: &Server, after: u64) -> Vec<Value> {
    let mut watch = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={after}")).await;
    // When this Workload is sent, everything before it has been.
    let last = server.join(LAST, 1);
    let mut lines = Vec::new();
    loop {
        let line = watch.next().await.unwrap();
        if line["object"]["metadata"]["name"] != LAST {
            lines.push(line);
        } else if line["type"] == "ADDED"
            && line["object"]["metadata"]["resourceVersion"] == *server.head().to_string()
        {
            last.goodbye();
            return lines;
        }
    }
}

fn version(line: &Value) -> u64 {
    line["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_can_resume_after_any_line() {
    let server = Server::start().await;
    let (mut world, mut random) = (World::default(), fastrand::Rng::with_seed(9));
    let mut cuts = 0;
    for round in 0..60 {
        world.change(&server, &mut random, 6);
        let (mut cache, mut reached) = list(&server).await;
        world.change(&server, &mut random, 12);
        let sent = lines(&server, reached).await;
        world.change(&server, &mut random, 6);
        let (end, _) = list(&server).await;
        for cut in 0..=sent.len() {
            let mut resumed = cache.clone();
            for line in lines(&server, reached).await {
                resumed.apply(&line);
            }
            assert_eq!(resumed, end, "round {round}, disconnected after {cut} lines of {sent:#?}");
            if let Some(line) = sent.get(cut) {
                cache.apply(line);
                assert!(version(line) > reached, "versions increase: {line}");
                reached = version(line);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 200, "{cuts}");
}
