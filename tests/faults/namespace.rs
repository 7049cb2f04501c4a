//! A network namespace with one link to us, which can be dropped: nobody gets a
//! FIN, as when a cable is pulled.

use std::{
    net::Ipv4Addr,
    process::{self, Command, Output},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// Removed with this, also when a test fails.
pub(crate) struct Namespace {
    /// Of the namespace and, with a letter behind it, of both ends of its link.
    name: String,
    /// Our end's address, and theirs.
    pub(crate) ours: Ipv4Addr,
    theirs: Ipv4Addr,
}

impl Namespace {
    /// A new one; none, and the reason is printed, where none can be made. Then
    /// the test is to return.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let id = process::id();
        let number = NEXT.fetch_add(1, Relaxed);
        // A subnet of four addresses, of those that are for tests of networks
        // (RFC 2544), by process and number.
        let [high, low] = (u16::try_from(id % 4_096).expect("12 bits") << 4 | number << 2).to_be_bytes();
        let namespace = Self {
            name: format!("hc{id}n{number}"),
            ours: Ipv4Addr::new(198, 18, high, low | 1),
            theirs: Ipv4Addr::new(198, 18, high, low | 2),
        };
        match namespace.set_up() {
            Ok(()) => Some(namespace),
            Err(why) => {
                println!("SKIPPED: no network namespace can be made here: {why}");
                None
            }
        }
    }

    fn set_up(&self) -> Result<(), String> {
        let Self { name, ours, theirs } = self;
        for words in [
            format!("netns add {name}"),
            format!("link add {name}a type veth peer name {name}b netns {name}"),
            format!("addr add {ours}/30 dev {name}a"),
            format!("link set {name}a up"),
            format!("-n {name} addr add {theirs}/30 dev {name}b"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set {name}b up"),
        ] {
            ip(&words)?;
        }
        Ok(())
    }

    /// The same command, inside.
    pub(crate) fn inside(&self, command: &tokio::process::Command) -> tokio::process::Command {
        let mut inside = tokio::process::Command::new("ip");
        inside.args(["netns", "exec", &self.name]);
        inside.arg(command.as_std().get_program()).args(command.as_std().get_args());
        inside
    }

    /// Their end goes down: nothing comes through in either direction.
    pub(crate) fn drop_link(&self) {
        ip(&format!("-n {0} link set {0}b down", self.name)).expect("the link goes down");
    }

    pub(crate) fn restore_link(&self) {
        ip(&format!("-n {0} link set {0}b up", self.name)).expect("the link comes up");
    }

    /// What they send is lost, what we send arrives.
    pub(crate) fn lose_their_packets(&self) {
        ip(&format!("-n {} route add blackhole {}/32", self.name, self.ours)).expect("a route to nowhere");
    }

    pub(crate) fn find_their_packets(&self) {
        ip(&format!("-n {} route del blackhole {}/32", self.name, self.ours)).expect("it was there");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Our end goes with its peer, though not before the last process inside.
        for words in [format!("link del {}a", self.name), format!("netns del {}", self.name)] {
            if let Err(why) = ip(&words) {
                println!("ip {words}: {why}");
            }
        }
    }
}

fn ip(words: &str) -> Result<(), String> {
    let run = Command::new("ip").args(words.split_whitespace()).output();
    let Output { status, stderr, .. } = run.map_err(|error| format!("ip: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ip {words}: {}", String::from_utf8_lossy(&stderr).trim()))
    }
}
