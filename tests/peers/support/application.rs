//! An application behind a proxy: an HTTP server that a test can stop and start again.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Listens until it is dropped; then its port refuses connections.
pub(crate) struct Application {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Application {
    /// Starts an application that answers `/healthz` with 200 and all other paths with 404.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (status, stopped) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&status), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.1.load(SeqCst) {
                    return;
                }
                // A prober may close its connection early.
                let _closed = stream.and_then(|stream| answer(stream, shared.0.load(SeqCst)));
            }
        });
        Self { address, status, stopped, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers `/healthz` with this status from now on.
    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, SeqCst);
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stopped.store(true, SeqCst);
        // A connection wakes the thread, which then closes the listener.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

/// Answers one request. A TCP probe sends none.
fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
    let status = if request.starts_with("GET /healthz ") { status } else { 404 };
    write!(stream, "HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
