//! What a failed TLS connection means for the user of a client.

use std::{io, time::SystemTime};

use rustls::{AlertDescription, CertificateError, Error, pki_types::UnixTime};

use super::ClientTls;
use crate::net::client::ConnectProblem;

/// A file that can't be used. The error names the setting, the file and the remedy.
pub(super) fn file(error: &anyhow::Error) -> ConnectProblem {
    ConnectProblem::new(format!("{error:#}"), "the file is read again at the next attempt")
}

/// A server that does not speak HTTP/2 over TLS.
pub(super) fn no_http2() -> ConnectProblem {
    ConnectProblem::new(
        "the server speaks TLS, but not HTTP/2",
        "check the port: it must be that of gRPC (7100 by default)",
    )
}

/// An error of a handshake at `now`.
pub(super) fn handshake(tls: &ClientTls, error: &io::Error, now: SystemTime) -> ConnectProblem {
    let no_tls = || {
        ConnectProblem::new(
            "the server does not speak TLS",
            "check the port, or write its address with http:// if it has no TLS",
        )
    };
    match rustls_error(error) {
        Some(Error::InvalidCertificate(reason)) => certificate(tls, reason, now),
        Some(Error::InvalidMessage(_)) => no_tls(),
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => no_http2(),
        Some(Error::AlertReceived(alert)) => rejected(tls, *alert),
        Some(Error::PeerIncompatible(reason)) => ConnectProblem::new(
            format!("the server supports no common version or cipher of TLS ({reason:?})"),
            "let it support TLS 1.2 or 1.3",
        ),
        Some(other) => ConnectProblem::new(format!("the TLS handshake failed ({other})"), CHECK),
        None if error.kind() == io::ErrorKind::UnexpectedEof => ConnectProblem::new(
            "the server closed the connection during the TLS handshake",
            "it may not speak TLS on this port: check the port, or write its address with http:// if it has no TLS",
        ),
        None => {
            ConnectProblem::new(format!("the connection was lost during the TLS handshake ({error})"), CHECK)
        }
    }
}

/// An error after the handshake: with TLS 1.3 a server verifies the client's certificate after the client
/// regards the handshake as complete. None if TLS has nothing to do with it.
pub(super) fn after_handshake(tls: &ClientTls, error: &io::Error, received: bool) -> Option<ConnectProblem> {
    match rustls_error(error) {
        Some(Error::AlertReceived(alert)) => Some(rejected(tls, *alert)),
        // A server that closes the connection while data of the client is in flight resets it, and the
        // client may not receive the alert.
        None if !received && tls.identity.is_none() => Some(ConnectProblem::new(
            "the server closed the connection right after the TLS handshake",
            format!("it may require a client certificate: {CLIENT_CERTIFICATE}"),
        )),
        _ => None,
    }
}

const CHECK: &str = "check the address, and what is between this machine and the server";
const CLIENT_CERTIFICATE: &str = "set --client-cert-file and --client-key-file";

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn certificate(tls: &ClientTls, reason: &CertificateError, now: SystemTime) -> ConnectProblem {
    let name = tls.server_name.to_str();
    let ca = tls.ca.source();
    let clock = format!("this machine's clock is at {}", humantime::format_rfc3339_seconds(now));
    match reason {
        CertificateError::Expired => ConnectProblem::new(
            "the server's certificate has expired",
            format!("renew it on the server ({clock})"),
        ),
        CertificateError::ExpiredContext { not_after, .. } => ConnectProblem::new(
            format!("the server's certificate expired at {}", at(*not_after)),
            format!("renew it on the server ({clock})"),
        ),
        CertificateError::NotValidYet => {
            ConnectProblem::new("the server's certificate is not valid yet", format!("check clocks: {clock}"))
        }
        CertificateError::NotValidYetContext { not_before, .. } => ConnectProblem::new(
            format!("the server's certificate is not valid before {}", at(*not_before)),
            format!("check clocks: {clock}"),
        ),
        CertificateError::NotValidForName => {
            ConnectProblem::new(format!("the server's certificate is not for {name}"), NAMES)
        }
        CertificateError::NotValidForNameContext { presented, .. } => ConnectProblem::new(
            format!("the server's certificate is not for {name}, but for {}", names(presented)),
            NAMES,
        ),
        // The second occurs if both CAs have the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => ConnectProblem::new(
            format!("the server's certificate was not issued by a CA in {ca}"),
            "give the certificate of the server's CA, and let the server send those of the issuers between the two",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            ConnectProblem::new(
                "the server's certificate is not for servers",
                "issue one with the extended key usage serverAuth",
            )
        }
        CertificateError::Revoked => {
            ConnectProblem::new("the server's certificate was revoked", "renew it on the server")
        }
        other => ConnectProblem::new(
            format!("the server's certificate is not valid ({other})"),
            format!("issue one by a CA in {ca}, with its names as subjectAltName"),
        ),
    }
}

const NAMES: &str = "use a name of its certificate as the host, or set --tls-server-name to one";

/// The names of a certificate. The library writes `DnsName("a.example")` and `IpAddress(10.0.0.1)`.
fn names(presented: &[String]) -> String {
    let name = |text: &String| {
        let inner = text.split_once('(').map_or(text.as_str(), |(_, rest)| rest.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    if presented.is_empty() {
        return "no name (it has no subjectAltName)".to_owned();
    }
    presented.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The server's alert about the client's certificate, or another one.
fn rejected(tls: &ClientTls, alert: AlertDescription) -> ConnectProblem {
    let about_certificate = matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    );
    match (&tls.identity, alert) {
        (None, AlertDescription::CertificateRequired) => {
            ConnectProblem::new("the server requires a client certificate", CLIENT_CERTIFICATE)
        }
        // TLS 1.2 has no alert of its own for a missing certificate.
        (None, AlertDescription::HandshakeFailure | AlertDescription::BadCertificate) => ConnectProblem::new(
            format!("the server ended the TLS handshake ({alert:?})"),
            format!("it may require a client certificate: {CLIENT_CERTIFICATE}"),
        ),
        (Some([cert, _]), _) if about_certificate => ConnectProblem::new(
            format!("the server rejected the certificate in {} ({alert:?})", cert.source()),
            "give a valid one of a CA that the server accepts for clients",
        ),
        (_, AlertDescription::UnrecognisedName) => ConnectProblem::new(
            format!("the server has no certificate for {}", tls.server_name.to_str()),
            "check the host, or set --tls-server-name",
        ),
        (_, AlertDescription::ProtocolVersion) => {
            ConnectProblem::new("the server supports neither TLS 1.2 nor 1.3", "let it support one of them")
        }
        _ => ConnectProblem::new(format!("the server ended the TLS connection ({alert:?})"), CHECK),
    }
}

fn at(time: UnixTime) -> humantime::Rfc3339Timestamp {
    let since = std::time::Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since)
}
