//! Which `ServiceAccount` tokens the server accepts.

use std::{env, path::PathBuf, time::Duration};

use http::Uri;
use serde::Deserialize;

use super::cluster::Rules;
use crate::{
    authentication::kube_api::{KubeApi, KubeApiFiles},
    model::{Invalid, MeshName},
    net::tls::ClientTls,
};

/// The audience of the tokens, if the access file names no other.
const DEFAULT_AUDIENCE: &str = "headcount";
/// Where the kubelet puts the files of a Pod's `ServiceAccount`.
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How often the token of a session may be reviewed again.
const REVIEW_INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const DEFAULT_REVIEW_INTERVAL: Duration = Duration::from_mins(5);

/// Which `ServiceAccount` tokens the server accepts, and how it verifies them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The issuer (`iss`); none if kube-apiserver's own is asked for.
    issuer: Option<String>,
    audience: String,
    mesh: Option<MeshName>,
    pub(super) source: Source,
}

/// Where the keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A file with a JWK set.
    File(PathBuf),
    /// kube-apiserver.
    KubeApiServer {
        uri: Uri,
        files: KubeApiFiles,
        /// The time between two reviews of one token.
        review_interval: Duration,
    },
}

/// `serviceAccountTokens` in the access file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::authentication) struct Document {
    issuer: Option<String>,
    audience: Option<String>,
    mesh: Option<String>,
    jwks_file: Option<PathBuf>,
    kube_api_server: Option<KubeApiServer>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubeApiServer {
    url: Option<String>,
    ca_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    review_interval: Option<String>,
}

impl Document {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// If a value is invalid or missing. The error names the field.
    pub(in crate::authentication) fn parse(self, field: &str) -> Result<Settings, Invalid> {
        let path = |name| format!("{field}.{name}");
        for (name, text) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            if text.as_deref() == Some("") {
                return Err(Invalid::new(path(name), "must not be empty"));
            }
        }
        let source = match (self.jwks_file, self.kube_api_server) {
            (Some(_), Some(_)) => {
                return Err(Invalid::new(path("jwksFile"), "can't be set together with kubeApiServer"));
            }
            (Some(_), None) if self.issuer.is_none() => {
                return Err(Invalid::new(path("issuer"), "is required with jwksFile"));
            }
            (Some(file), None) => Source::File(file),
            (None, server) => server.unwrap_or_default().parse(&path("kubeApiServer"))?,
        };
        Ok(Settings {
            issuer: self.issuer,
            audience: self.audience.unwrap_or_else(|| DEFAULT_AUDIENCE.to_owned()),
            mesh: self.mesh.map(|text| MeshName::parse(&path("mesh"), &text)).transpose()?,
            source,
        })
    }
}

impl KubeApiServer {
    fn parse(self, field: &str) -> Result<Source, Invalid> {
        let invalid = |name, problem: &str| Invalid::new(format!("{field}.{name}"), problem);
        let url = self.url.or_else(in_cluster_url);
        let url = url.ok_or_else(|| {
            invalid("url", "is required outside of a Pod, where KUBERNETES_SERVICE_HOST is not set")
        })?;
        let uri: Option<Uri> = url.parse().ok();
        let uri = uri.filter(|uri| {
            uri.scheme_str() == Some("https")
                && uri.host().and_then(ClientTls::parse_name).is_some()
                && uri.path_and_query().is_none_or(|path| path == "/")
        });
        let uri = uri.ok_or_else(|| invalid("url", "must be a URL such as https://10.0.0.1:443"))?;
        let in_cluster = |name: &str| PathBuf::from(IN_CLUSTER).join(name);
        let files = KubeApiFiles {
            ca: self.ca_file.unwrap_or_else(|| in_cluster("ca.crt")),
            token: self.token_file.unwrap_or_else(|| in_cluster("token")),
        };
        let interval = self.review_interval.as_deref().map(humantime::parse_duration);
        let review_interval = interval.unwrap_or(Ok(DEFAULT_REVIEW_INTERVAL)).ok();
        let review_interval = review_interval.filter(|interval| REVIEW_INTERVAL.contains(interval));
        let review_interval =
            review_interval.ok_or_else(|| invalid("reviewInterval", "must be a duration from 1s to 1h"))?;
        Ok(Source::KubeApiServer { uri, files, review_interval })
    }
}

impl Settings {
    /// The rules for tokens, if the cluster's own issuer is `discovered`.
    pub(super) fn rules(&self, discovered: Option<String>) -> Option<Rules> {
        let issuer = self.issuer.clone().or(discovered)?;
        Some(Rules { issuer, audience: self.audience.clone(), mesh: self.mesh.clone() })
    }

    pub(super) fn audience(&self) -> &str {
        &self.audience
    }

    /// Whether the issuer is to be asked for.
    pub(super) fn discovers_issuer(&self) -> bool {
        self.issuer.is_none()
    }
}

impl Source {
    /// The time between two reviews of a token; none if there is no kube-apiserver.
    pub(super) fn review_interval(&self) -> Option<Duration> {
        match self {
            Self::File(_) => None,
            Self::KubeApiServer { review_interval, .. } => Some(*review_interval),
        }
    }

    /// A client of kube-apiserver; none if the keys come from a file.
    pub(super) fn kube_api(&self) -> Option<KubeApi> {
        match self {
            Self::File(_) => None,
            Self::KubeApiServer { uri, files, .. } => KubeApi::new(uri, files),
        }
    }
}

/// The URL of kube-apiserver for the containers of Pods.
fn in_cluster_url() -> Option<String> {
    let host = env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
    Some(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}
