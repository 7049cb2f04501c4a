//! How to reach the server.

use std::time::Duration;

use http::Uri;
use tonic::transport::Endpoint;

use crate::model::Invalid;

/// Resolving the name and the TCP handshake.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A server that is gone without a word (power, network) is noticed within
/// 5 s + 3 s. HTTP/2 PINGs belong to the connection: any number of sessions on
/// it costs one.
const PING_EVERY: Duration = Duration::from_secs(5);
const PONG_WITHIN: Duration = Duration::from_secs(3);

/// The endpoint of a server, with the settings that sessions want.
pub fn endpoint(server: &str) -> Result<Endpoint, Invalid> {
    let wrong = || Invalid::new("server", format!("{server:?}: must be a URL such as http://127.0.0.1:7100"));
    let uri: Uri = server.parse().map_err(|_| wrong())?;
    if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_servers_are_taken() {
        assert!(endpoint("http://127.0.0.1:7100").is_ok());
        assert!(endpoint("http://[::1]:7100").is_ok());
        for bad in ["", "127.0.0.1:7100", "localhost", "https://headcount:7100", "http://", "http://a b"] {
            let error = endpoint(bad).unwrap_err().to_string();
            assert!(error.starts_with("server: "), "{bad}: {error}");
        }
    }
}
