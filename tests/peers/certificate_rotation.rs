//! The certificates of the server and of its clients are replaced, and then the CA that has issued them,
//! while agents are connected and others come and go.

use std::{collections::BTreeMap, ops::Range};

use rcgen::SanType;
use serde_json::Value;

use crate::{
    pki::{Authority, Pair},
    support::{Program, Server, Signal, Site, gateway, get, headcount, retry},
};

const AGENTS: usize = 20;
/// Those that are restarted at each step; the others run all the time.
const RESTARTED: Range<usize> = 12..AGENTS;

const ACCESS: &str = "
roleBindings: [{role: viewer, users: [admin]}]
dataplaneCertificates: [{spiffeId: 'spiffe://example.com/{name}', mesh: default}]
";

struct Fixture {
    server: Server,
    agents: Vec<Option<Program>>,
}

fn write_pair(site: &Site, name: &str, Pair { cert, key }: &Pair) {
    site.file(&format!("{name}.key"), key);
    site.file(&format!("{name}.crt"), cert);
}

/// Issues the certificates of the user and of all agents.
fn write_client_certificates(site: &Site, ca: &Authority) {
    write_pair(site, "admin", &ca.client("admin"));
    for agent in 0..AGENTS {
        let uri = format!("spiffe://example.com/web-{agent}");
        let uri = SanType::URI(uri.try_into().expect("a URI"));
        write_pair(site, &format!("web-{agent}"), &ca.client_with("", |it| it.subject_alt_names.push(uri)));
    }
}

impl Fixture {
    /// Starts a server and all agents with certificates of this CA.
    async fn start(ca: &Authority) -> Self {
        let site = Site::new();
        write_pair(&site, "tls", &ca.server(&[&site.any_port().ip().to_string()]));
        site.file("ca.crt", &ca.pem);
        site.file("access.yaml", ACCESS);
        write_client_certificates(&site, ca);
        let [cert, key, ca, access] =
            ["tls.crt", "tls.key", "ca.crt", "access.yaml"].map(|name| site.path(name).display().to_string());
        let flags = format!(
            "--grpc-tls-cert-file {cert} --grpc-tls-key-file {key} --tls-client-ca-file {ca} --access-file {access}"
        );
        let server = Server::start_at(site, &flags).await;
        let mut fixture = Self { server, agents: Vec::new() };
        for agent in 0..AGENTS {
            let started = fixture.agent(agent);
            fixture.agents.push(Some(started));
        }
        fixture.wait_for_sessions("all agents", |sessions| sessions.len() == AGENTS).await;
        fixture
    }

    /// Flags of a client with the certificate of this name.
    fn client(&self, name: &str) -> String {
        let path = |file: String| self.server.site.path(&file).display().to_string();
        let (ca, cert, key) =
            (path("ca.crt".into()), path(format!("{name}.crt")), path(format!("{name}.key")));
        format!(
            "--server https://{} --ca-file {ca} --client-cert-file {cert} --client-key-file {key}",
            self.server.grpc
        )
    }

    fn agent(&self, agent: usize) -> Program {
        let name = format!("web-{agent}");
        let file = self.server.site.file(&format!("{name}.yaml"), &gateway("default", "web", &name));
        let client = self.client(&name);
        Program::start(&mut headcount(&format!("agent --dataplane-file {} {client}", file.display())))
    }

    /// Restarts some of the agents, and waits until they are back.
    async fn restart_agents(&mut self) {
        let before = self.sessions().await;
        for agent in RESTARTED {
            let old = self.agents[agent].take().expect("a running agent");
            old.signal(Signal::TERM);
            old.end().await.expect_exit(0);
            self.agents[agent] = Some(self.agent(agent));
        }
        self.wait_for_new_sessions(RESTARTED, &before).await;
    }

    /// The identifiers of the sessions of all connected dataplanes, by name.
    async fn sessions(&self) -> BTreeMap<String, String> {
        let get = format!("get dataplanes -o json {}", self.client("admin"));
        let ended = Program::start(&mut headcount(&get)).end().await.expect_exit(0);
        let list: Value = serde_json::from_str(&ended.out).unwrap();
        let session = |dataplane: &Value| {
            Some((
                dataplane["name"].as_str()?.to_owned(),
                dataplane["status"]["sessionId"].as_str()?.to_owned(),
            ))
        };
        list["items"].as_array().unwrap().iter().filter_map(session).collect()
    }

    async fn wait_for_sessions(&self, what: &str, are_wanted: impl Fn(&BTreeMap<String, String>) -> bool) {
        retry(what, async || are_wanted(&self.sessions().await).then_some(())).await;
    }

    async fn wait_for_new_sessions(&self, agents: Range<usize>, before: &BTreeMap<String, String>) {
        self.wait_for_sessions(&format!("new sessions of {agents:?}"), |now| {
            agents.clone().all(|agent| {
                let name = format!("web-{agent}");
                now.get(&name).is_some_and(|session| before.get(&name) != Some(session))
            })
        })
        .await;
    }

    /// Asserts that these agents still have the sessions that they had.
    async fn assert_same_sessions(&self, agents: Range<usize>, before: &BTreeMap<String, String>) {
        let now = self.sessions().await;
        for name in agents.map(|agent| format!("web-{agent}")) {
            assert_eq!(now.get(&name), before.get(&name), "{name}");
        }
    }

    /// Waits until the server has reloaded a file so many times.
    async fn wait_for_reload(&self, file: &str, times: usize) {
        let reloaded = |log: &str| {
            log.lines().filter(|line| line.contains("reloaded") && line.contains(file)).count() >= times
        };
        self.server.program.wait_for_stderr_matching(&format!("{file} is reloaded"), reloaded).await;
    }

    /// The values of all series of a metric, by their labels.
    async fn metric(&self, name: &str) -> BTreeMap<String, String> {
        let (_, metrics) = get(self.server.http, "/metrics").await.expect("a response");
        let series = metrics.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        series.map(|(labels, value)| (labels.to_owned(), value.to_owned())).collect()
    }
}

#[tokio::test]
async fn a_rotation_of_certificates_and_cas_ends_only_sessions_of_the_removed_ca() {
    let (old, new) = (Authority::named("old"), Authority::named("new"));
    let mut fixture = Fixture::start(&old).await;
    let at_start = fixture.sessions().await;

    fixture.server.site.file("ca.crt", &format!("{}{}", old.pem, new.pem));
    fixture.wait_for_reload("ca.crt", 1).await;
    fixture.restart_agents().await;

    let ip = fixture.server.grpc.ip().to_string();
    write_pair(&fixture.server.site, "tls", &new.server(&[&ip]));
    write_client_certificates(&fixture.server.site, &new);
    fixture.wait_for_reload("tls.crt", 1).await;
    fixture.restart_agents().await;
    let always = 0..RESTARTED.start;
    fixture.assert_same_sessions(always.clone(), &at_start).await;

    let before = fixture.sessions().await;
    fixture.server.site.file("ca.crt", &new.pem);
    fixture.wait_for_new_sessions(always.clone(), &before).await;
    fixture.assert_same_sessions(RESTARTED, &before).await;

    let ended = fixture.metric("headcount_sessions_ended_total").await;
    for (reason, count) in [("goodbye", 2 * RESTARTED.len()), ("unauthorized", always.len()), ("lost", 0)] {
        assert_eq!(ended[&format!("{{reason=\"{reason}\"}}")], count.to_string(), "{ended:?}");
    }
    let failures = fixture.metric("headcount_tls_handshake_failures_total").await;
    assert!(!failures.is_empty() && failures.values().all(|count| count == "0"), "{failures:?}");
}
