//! The real agent with tokens that are replaced as the kubelet replaces them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{Fixture, keys::Key};
use crate::support::{Program, gateway, headcount, retry};

const AGENTS: usize = 5;
/// How long each token is valid.
const LIFE: Duration = Duration::from_secs(20);

/// A projected volume with a token.
struct Volume(PathBuf);

impl Volume {
    fn new(directory: &Path) -> Self {
        fs::create_dir(directory).unwrap();
        symlink("..data/token", directory.join("token")).unwrap();
        Self(directory.to_owned())
    }

    /// Replaces the token in one step, as the kubelet does: a new directory, and a link to it that replaces
    /// the former link.
    fn replace(&self, number: usize, token: &str) {
        let (new, link) = (format!("..{number}"), self.0.join("..data_tmp"));
        fs::create_dir(self.0.join(&new)).unwrap();
        fs::write(self.0.join(&new).join("token"), token).unwrap();
        symlink(&new, &link).unwrap();
        fs::rename(&link, self.0.join("..data")).unwrap();
        if let Some(former) = number.checked_sub(1) {
            fs::remove_dir_all(self.0.join(format!("..{former}"))).unwrap();
        }
    }
}

impl Fixture {
    /// Starts an agent that reads its token from a volume.
    fn agent(&self, name: &str, volume: &Volume) -> Program {
        let file = self.server.site.file(&format!("{name}.yaml"), &gateway("default", "web", name));
        Program::start(&mut headcount(&format!(
            "agent --dataplane-file {} --server {} --token-file {}",
            file.display(),
            self.server.grpc,
            volume.0.join("token").display()
        )))
    }

    /// The identifiers of the sessions, by the names of their dataplanes.
    async fn session_ids(&self) -> BTreeMap<String, String> {
        let list = self.server.run("get dataplanes -o json").await.expect_exit(0).out;
        let list: Value = serde_json::from_str(&list).unwrap();
        let session = |dataplane: &Value| {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            (text(&dataplane["name"]), text(&dataplane["status"]["sessionId"]))
        };
        list["items"].as_array().unwrap().iter().map(session).collect()
    }

    /// Waits until the audit log has so many lines about replaced tokens.
    async fn wait_for_renewals(&self, count: usize) {
        let log = self.server.site.path("audit.log");
        retry(&format!("{count} replaced tokens"), async || {
            let text = fs::read_to_string(&log).unwrap();
            (text.matches("\"renew session\"").count() >= count).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn sessions_of_agents_outlive_several_tokens_and_a_key() {
    let fixture = Fixture::start().await;
    let site = &fixture.server.site;
    let names: Vec<_> = (0..AGENTS).map(|number| format!("web-{number}")).collect();
    let volumes: Vec<_> = names.iter().map(|name| Volume::new(&site.path(name))).collect();
    let replace = |key: &Key, number| {
        for (name, volume) in names.iter().zip(&volumes) {
            volume.replace(number, &key.token(name, number, LIFE));
        }
    };
    replace(&fixture.key, 0);
    let first_end = SystemTime::now() + LIFE + Duration::from_secs(1);
    let _agents: Vec<_> = names.iter().zip(&volumes).map(|(name, it)| fixture.agent(name, it)).collect();
    fixture.server.wait_for_counts("web", [AGENTS; 3].map(|agents| agents.try_into().unwrap())).await;
    let at_start = fixture.session_ids().await;

    replace(&fixture.key, 1);
    fixture.wait_for_renewals(AGENTS).await;
    replace(&fixture.key, 2);
    fixture.wait_for_renewals(2 * AGENTS).await;
    let new = Key::new("2");
    fixture.api.publish(vec![fixture.key.public(), new.public()]);
    replace(&new, 3);
    fixture.wait_for_renewals(3 * AGENTS).await;
    replace(&new, 4);
    fixture.wait_for_renewals(4 * AGENTS).await;

    retry("the end of the first tokens", async || (SystemTime::now() > first_end).then_some(())).await;
    assert_eq!(fixture.session_ids().await, at_start);
    fixture.assert_no_session_has_ended().await;
}
