//! A server with TLS whose callers authenticate by a token or a client certificate.

use std::path::PathBuf;

use crate::{
    pki::{Authority, Pair},
    support::{Issuer, Server, Site, TlsClient},
};

/// The server, and what issues the credentials of its callers.
pub(crate) struct Secured {
    pub(crate) server: Server,
    /// Issues the certificates of the server and of its clients.
    pub(crate) ca: Authority,
    issuer: Issuer,
}

impl Secured {
    /// Starts a server with TLS on these listeners (`grpc`, `http`, `kube`), and further flags. On the
    /// other listeners, which are on loopback, callers without a credential may do everything.
    pub(crate) async fn start(listeners: &[&str], flags: &str) -> Self {
        let (site, ca, issuer) = (Site::new(), Authority::new(), Issuer::new().await);
        let Pair { cert, key } = ca.server(&[&site.any_port().ip().to_string()]);
        let access = issuer.access(&["use: dataplane", "use: user"]);
        let files = [("ca.crt", &ca.pem), ("access.yaml", &access), ("tls.crt", &cert), ("tls.key", &key)];
        let [ca_file, access, cert, key] =
            files.map(|(name, text)| site.file(name, text).display().to_string());
        let tls = listeners
            .iter()
            .map(|listener| format!("--{listener}-tls-cert-file {cert} --{listener}-tls-key-file {key} "));
        let tls = tls.collect::<String>();
        let flags = format!("--tls-client-ca-file {ca_file} --access-file {access} {tls} {flags}");
        Self { server: Server::start_at(site, &flags).await, ca, issuer }
    }

    /// The path of a file, for arguments and configurations.
    pub(crate) fn path(&self, name: &str) -> String {
        self.server.site.path(name).display().to_string()
    }

    /// Issues a token of a kind (`user-token`, `dataplane-token`).
    pub(crate) async fn token(&self, kind: &str, arguments: &str) -> String {
        self.issuer.token(kind, arguments).await
    }

    /// Writes a token of a kind to a file of this name.
    pub(crate) async fn write_token(&self, name: &str, kind: &str, arguments: &str) -> PathBuf {
        self.server.site.file(name, &self.token(kind, arguments).await)
    }

    /// Writes the certificate of a user to the files `USER.crt` and `USER.key`.
    pub(crate) fn write_certificate(&self, user: &str) {
        let Pair { cert, key } = self.ca.client(user);
        self.server.site.file(&format!("{user}.crt"), &cert);
        self.server.site.file(&format!("{user}.key"), &key);
    }

    /// A client that trusts the server, and presents a certificate if there is one.
    pub(crate) fn client(&self, certificate: Option<&Pair>) -> TlsClient {
        TlsClient::new(&self.ca.pem, certificate.map(|Pair { cert, key }| [&**cert, &**key]))
    }
}
