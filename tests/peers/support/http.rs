//! A minimal HTTP client.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::DEADLINE;

/// Sends a GET, and returns the status code and the body; none if the connection fails.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let response = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the body ends with the connection and is not chunked.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.map(|_| response)
    };
    let response = timeout(DEADLINE, response).await.expect("a response in time").ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
