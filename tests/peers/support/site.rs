//! The directory and the loopback address of one test.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use tempfile::TempDir;

/// A temporary directory and a loopback address that no other test uses.
pub(crate) struct Site {
    directory: TempDir,
    ip: IpAddr,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), ip: own_ip() }
    }

    /// Returns the address with port 0.
    pub(crate) fn any_port(&self) -> SocketAddr {
        (self.ip, 0).into()
    }

    /// Returns an address that was free a moment ago, for programs that do not report which port they
    /// have bound.
    pub(crate) fn free_port(&self) -> SocketAddr {
        TcpListener::bind(self.any_port()).unwrap().local_addr().unwrap()
    }

    /// Returns a path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// On Linux all of 127/8 is loopback, and each address has its own ports. With an address per test, no
/// other program can take a server's port while it restarts.
fn own_ip() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [_, _, high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high & 63, low, NEXT.fetch_add(1, Relaxed)).into()
}
