//! Plain HTTP.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::DEADLINE;

/// The status and the body of a GET; none while nobody listens.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0: the body ends with the connection, and is not in chunks.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    let answer = timeout(DEADLINE, answer).await.expect("an answer in time").ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
