//! The directory and the loopback address of one test.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process,
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
};

use tempfile::TempDir;

/// A temporary directory and a loopback address that no other test uses.
pub(crate) struct Site {
    directory: TempDir,
    ip: IpAddr,
    /// Ports that were returned by [`Site::free_port`].
    reserved: Mutex<Vec<u16>>,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), ip: own_ip(), reserved: Mutex::default() }
    }

    /// Returns the address with port 0.
    pub(crate) fn any_port(&self) -> SocketAddr {
        (self.ip, 0).into()
    }

    /// Returns an address that was free a moment ago, for programs that do not report which port they
    /// have bound. No port is returned twice: the kernel may select one again before its program binds it.
    pub(crate) fn free_port(&self) -> SocketAddr {
        let mut reserved = self.reserved.lock().unwrap();
        loop {
            let address = TcpListener::bind(self.any_port()).unwrap().local_addr().unwrap();
            if !reserved.contains(&address.port()) {
                reserved.push(address.port());
                return address;
            }
        }
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
