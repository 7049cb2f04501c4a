//! An application: an HTTP server that can be killed and come back.

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

/// It listens until it is dropped; afterwards connections are refused.
pub(crate) struct Application {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Application {
    /// Answers all requests with 200.
    pub(crate) fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (status, over) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&status), Arc::clone(&over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.1.load(SeqCst) {
                    return;
                }
                // A prober that left early is no failure of ours.
                let _ended = stream.and_then(|stream| answer(stream, shared.0.load(SeqCst)));
            }
        });
        Self { address, status, over, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on answers with this status.
    pub(crate) fn answer_with(&self, status: u16) {
        self.status.store(status, SeqCst);
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        // Wakes the thread, which sees that it is over and closes the listener.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

/// Answers one request, if there is one: a TCP probe says nothing.
fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while !lines.next().transpose()?.unwrap_or_default().is_empty() {}
    // Whoever asks for another path gets another answer.
    let status = if request.starts_with("GET /healthz ") { status } else { 404 };
    write!(stream, "HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
