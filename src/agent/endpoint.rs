//! The connection settings of an agent.

use std::time::Duration;

use http::Uri;
use tonic::transport::Endpoint;

use crate::model::Invalid;

/// Longest time for DNS resolution and the TCP handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time without data on a connection until an HTTP/2 PING. It is longer than the interval of heartbeats, so
/// the agent sends PINGs only to a server that does not answer heartbeats. If such a server is lost without
/// a FIN (power, network), that is detected within 6.5 s + 3 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(6_500);
/// Longest time from a PING to its ack.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Returns the endpoint of a server, with the timeouts and the keepalive of an agent.
///
/// # Errors
///
/// If `server` is not an `http://` URL with a host.
pub fn endpoint(server: &str) -> Result<Endpoint, Invalid> {
    let invalid =
        || Invalid::new("server", format!("{server:?}: must be a URL such as http://127.0.0.1:7100"));
    let uri: Uri = server.parse().map_err(|_| invalid())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(invalid());
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_with_a_host_are_accepted() {
        assert!(endpoint("http://127.0.0.1:7100").is_ok());
        assert!(endpoint("http://[::1]:7100").is_ok());
        for bad in ["", "127.0.0.1:7100", "localhost", "https://headcount:7100", "http://", "http://a b"] {
            let error = endpoint(bad).unwrap_err().to_string();
            assert!(error.starts_with("server: "), "{bad}: {error}");
        }
    }
}
