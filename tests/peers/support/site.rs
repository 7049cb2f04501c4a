//! A place for one test: a directory, and an address that nobody else uses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

use tempfile::TempDir;

/// See the module's documentation.
pub(crate) struct Site {
    directory: TempDir,
    ip: IpAddr,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), ip: own_ip() }
    }

    /// The address, with port 0.
    pub(crate) fn any_port(&self) -> SocketAddr {
        (self.ip, 0).into()
    }

    /// An address that was free a moment ago, for programs that cannot say which
    /// port they took.
    pub(crate) fn free_port(&self) -> SocketAddr {
        TcpListener::bind(self.any_port()).unwrap().local_addr().unwrap()
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// All of 127/8 is loopback on Linux, and each address has ports of its own. So
/// a server can come back to its port: nothing else is given it meanwhile.
fn own_ip() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    if cfg!(not(target_os = "linux")) {
        return Ipv4Addr::LOCALHOST.into();
    }
    let [_, _, high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | high & 63, low, NEXT.fetch_add(1, Relaxed)).into()
}
