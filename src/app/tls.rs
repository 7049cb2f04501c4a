//! TLS of the listeners, and what callers without a credential may do on them.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use crate::{
    config::{CertificateFiles, KubeSettings, TlsSettings},
    model::AnonymousAccess,
    net::tls::{ClientCertificates, PemFile, Protocol, Tls, TlsListener},
};

/// Loads the certificate of a listener, if it has one, and reloads it in a task.
///
/// # Errors
///
/// If a file can't be read, or its contents are invalid.
pub(super) fn load(
    files: Option<&CertificateFiles>,
    protocol: Protocol,
    settings: &TlsSettings,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Option<Tls>> {
    let Some(CertificateFiles { flags: [cert, key], cert_file, key_file }) = files else { return Ok(None) };
    let clients = match settings.client_ca_file {
        Some(_) => ClientCertificates::Requested,
        None => ClientCertificates::Ignored,
    };
    let listener =
        TlsListener::load(PemFile::new(cert, cert_file), PemFile::new(key, key_file), protocol, clients)?;
    let tls = listener.tls();
    tasks.spawn(listener.run(settings.reload_interval));
    Ok(Some(tls))
}

/// What callers without a credential may do on a listener.
pub(super) fn anonymous_access(
    addr: SocketAddr,
    tls: Option<&Tls>,
    settings: &TlsSettings,
) -> AnonymousAccess {
    let local = addr.ip().is_loopback() && tls.is_none();
    if local || settings.insecure_allow_anonymous { AnonymousAccess::Full } else { AnonymousAccess::Public }
}

/// What such callers may do on the HTTP listener, where they may be allowed to read the metrics.
pub(super) fn with_metrics(anonymous: AnonymousAccess, metrics: bool) -> AnonymousAccess {
    match anonymous {
        AnonymousAccess::Public if metrics => AnonymousAccess::PublicAndMetrics,
        anonymous => anonymous,
    }
}

/// What such callers may do on the listener of the Kubernetes API. Behind kube-apiserver, whose users
/// have rights of their own, no caller is trusted because of its address.
pub(super) fn kube_anonymous_access(settings: &KubeSettings, authenticates: bool) -> AnonymousAccess {
    let loopback = settings.addr.is_some_and(|addr| addr.ip().is_loopback());
    let credentials = settings.tls.is_some() && authenticates;
    if loopback && settings.front_proxy().is_none() && !credentials {
        AnonymousAccess::Full
    } else {
        AnonymousAccess::Public
    }
}
