//! A TCP link that a test can cut without a FIN.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::support::Site;

/// Forwards connections to another address. Dropping it closes them.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    is_up: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on an address of the site.
    pub(crate) async fn start(site: &Site, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(site.any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_up, link) = watch::channel(true);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, target, link.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, is_up, task }
    }

    /// From now on nothing arrives at the other side: no data, no FIN, no RST. The kernel still
    /// acknowledges what each side sends, so neither side's TCP detects it.
    pub(crate) fn cut(&self) {
        self.is_up.send_replace(false);
    }

    /// Delivers what was sent meanwhile, and all that follows.
    pub(crate) fn restore(&self) {
        self.is_up.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards one connection until one side resets it or both have closed it.
async fn forward(client: TcpStream, target: SocketAddr, mut link: watch::Receiver<bool>) -> io::Result<()> {
    up(&mut link).await?;
    let server = TcpStream::connect(target).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::try_join!(copy(from_client, to_server, link.clone()), copy(from_server, to_client, link))?;
    Ok(())
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut link: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).await;
        up(&mut link).await?;
        match read? {
            0 => return to.shutdown().await,
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}

/// Waits until the link is up.
async fn up(link: &mut watch::Receiver<bool>) -> io::Result<()> {
    link.wait_for(|is_up| *is_up).await.map(drop).map_err(io::Error::other)
}
