//! A network namespace with one link to the host. When the link goes down no FIN is sent, as after a network
//! failure.

use std::{
    net::Ipv4Addr,
    process::{self, Command, Output},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// A network namespace; removed on drop, also when a test fails.
pub(crate) struct NetworkNamespace {
    /// Name of the namespace. The ends of the link have the names `{name}a`, outside, and `{name}b`, inside.
    name: String,
    /// Address of the outer end.
    pub(crate) outside: Ipv4Addr,
    /// Address of the inner end.
    inside: Ipv4Addr,
}

impl NetworkNamespace {
    /// Creates a network namespace. If that is not possible, prints why and returns none; the test should
    /// return then.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let id = process::id();
        let number = NEXT.fetch_add(1, Relaxed);
        // A subnet of four addresses of the range for network tests (RFC 2544), unique by process and number.
        let [high, low] = (u16::try_from(id % 4_096).expect("12 bits") << 4 | number << 2).to_be_bytes();
        let namespace = Self {
            name: format!("hc{id}n{number}"),
            outside: Ipv4Addr::new(198, 18, high, low | 1),
            inside: Ipv4Addr::new(198, 18, high, low | 2),
        };
        match namespace.set_up() {
            Ok(()) => Some(namespace),
            Err(error) => {
                println!("SKIPPED: no network namespace can be made here: {error}");
                None
            }
        }
    }

    fn set_up(&self) -> Result<(), String> {
        let Self { name, outside, inside } = self;
        for arguments in [
            format!("netns add {name}"),
            format!("link add {name}a type veth peer name {name}b netns {name}"),
            format!("addr add {outside}/30 dev {name}a"),
            format!("link set {name}a up"),
            format!("-n {name} addr add {inside}/30 dev {name}b"),
            format!("-n {name} link set lo up"),
            format!("-n {name} link set {name}b up"),
        ] {
            ip(&arguments)?;
        }
        Ok(())
    }

    /// Wraps a command so that it runs inside.
    pub(crate) fn wrap(&self, command: &tokio::process::Command) -> tokio::process::Command {
        let mut wrapped = tokio::process::Command::new("ip");
        wrapped.args(["netns", "exec", &self.name]);
        wrapped.arg(command.as_std().get_program()).args(command.as_std().get_args());
        wrapped
    }

    /// Sets the inner end down: packets are lost in both directions.
    pub(crate) fn drop_link(&self) {
        ip(&format!("-n {0} link set {0}b down", self.name)).expect("the link goes down");
    }

    pub(crate) fn restore_link(&self) {
        ip(&format!("-n {0} link set {0}b up", self.name)).expect("the link comes up");
    }

    /// Drops all packets from inside to the outer end; the other direction works.
    pub(crate) fn blackhole_outbound(&self) {
        ip(&format!("-n {} route add blackhole {}/32", self.name, self.outside)).expect("a blackhole route");
    }

    pub(crate) fn remove_blackhole(&self) {
        ip(&format!("-n {} route del blackhole {}/32", self.name, self.outside)).expect("the route exists");
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        // Deleting the namespace would remove the outer end too, but only after the last process inside ends.
        for arguments in [format!("link del {}a", self.name), format!("netns del {}", self.name)] {
            if let Err(error) = ip(&arguments) {
                println!("ip {arguments}: {error}");
            }
        }
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let run = Command::new("ip").args(arguments.split_whitespace()).output();
    let Output { status, stderr, .. } = run.map_err(|error| format!("ip: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&stderr).trim()))
    }
}
