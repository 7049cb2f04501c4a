//! What `/readyz` of both HTTP listeners responds.

use std::fmt::Write as _;

use http::StatusCode;

use crate::{persistence::StoreStatus, registry::Registry, runtime::readiness::Readiness};

/// The checks of the server.
#[derive(Debug, Clone)]
pub struct ReadyChecks {
    ready: Readiness,
    registry: Registry,
    store: Option<StoreStatus>,
}

impl ReadyChecks {
    /// Checks that the server is ready.
    pub fn new(ready: Readiness, registry: &Registry) -> Self {
        Self { ready, registry: registry.clone(), store: None }
    }

    /// Adds a line about the data directory.
    #[must_use]
    pub fn with_store(self, status: StoreStatus) -> Self {
        Self { store: Some(status), ..self }
    }

    /// Returns the status code and the text, in the format of Kubernetes' servers: with `verbose`
    /// in the query one line for each check. Only with `details`, which are as confidential as the
    /// metrics, do the lines say more than the names of the checks and their results.
    ///
    /// A server that is warming is ready: its clients reach it only if it is, and it is warming
    /// until they are back. One that can't store registrations is ready too, because it counts
    /// the proxies as before.
    pub fn respond(&self, query: Option<&str>, details: bool) -> (StatusCode, String) {
        let ready = self.ready.is_ready();
        let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        if !parameters.any(|(name, _)| name == "verbose") {
            let text = if ready { "ok" } else { "not ready: starting or draining" };
            return (code, text.to_owned());
        }
        let (check, result) = if ready {
            ("[+]ready ok", "passed")
        } else {
            ("[-]ready failed: starting or draining", "failed")
        };
        let mut text = format!("{check}\n[+]warming ok");
        if let Some(status) = self.registry.warming().filter(|_| details) {
            let _infallible = write!(text, ": {status}");
        }
        if let Some(store) = &self.store {
            text += "\n[+]store ok";
            if let Some(error) = store.state().error.filter(|_| details) {
                let _infallible = write!(text, ": registrations can't be stored: {error}");
            }
        }
        text += "\nreadyz check ";
        text += result;
        text.push('\n');
        (code, text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::{RegistrySettings, tests::begin_warming};

    fn checks(is_ready: bool) -> ReadyChecks {
        let ready = Readiness::default();
        ready.set(is_ready);
        ReadyChecks::new(ready, &Registry::new(RegistrySettings::default()))
    }

    #[test]
    fn a_ready_server_passes_each_check() {
        let verbose = "[+]ready ok\n[+]warming ok\nreadyz check passed\n";
        for (query, expected) in [
            (None, "ok"),
            (Some("timeout=1s"), "ok"),
            (Some("verbose"), verbose),
            (Some("a&verbose="), verbose),
        ] {
            assert_eq!(checks(true).respond(query, true), (StatusCode::OK, expected.to_owned()), "{query:?}");
        }
    }

    #[test]
    fn a_server_that_drains_is_not_ready() {
        let (code, text) = checks(false).respond(None, true);
        assert_eq!((code.as_u16(), &*text), (503, "not ready: starting or draining"));
        let (code, text) = checks(false).respond(Some("verbose"), true);
        let failed = "[-]ready failed: starting or draining\n[+]warming ok\nreadyz check failed\n";
        assert_eq!((code.as_u16(), &*text), (503, failed));
    }

    #[test]
    fn a_server_that_cannot_store_is_ready() {
        let verbose =
            |store: &str| format!("[+]ready ok\n[+]warming ok\n[+]store ok{store}\nreadyz check passed\n");
        let stores = checks(true).with_store(StoreStatus::default());
        assert_eq!(stores.respond(Some("verbose"), true), (StatusCode::OK, verbose("")));
        let checks = checks(true).with_store(StoreStatus::failing("no space left"));
        let failing = ": registrations can't be stored: no space left";
        assert_eq!(checks.respond(Some("verbose"), true), (StatusCode::OK, verbose(failing)));
        assert_eq!(checks.respond(None, true), (StatusCode::OK, "ok".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_warming_is_ready() {
        let checks = checks(true);
        begin_warming(&checks.registry, 12, Duration::from_secs(21));
        assert_eq!(checks.respond(None, true), (StatusCode::OK, "ok".to_owned()));
        let (code, text) = checks.respond(Some("verbose"), true);
        let warming = "the server restarted: 12 dataplanes have not reconnected yet (at most 21s more)";
        assert_eq!(text, format!("[+]ready ok\n[+]warming ok: {warming}\nreadyz check passed\n"));
        assert_eq!(code, StatusCode::OK);
        let (_, public) = checks.respond(Some("verbose"), false);
        assert_eq!(public, "[+]ready ok\n[+]warming ok\nreadyz check passed\n");
    }
}
