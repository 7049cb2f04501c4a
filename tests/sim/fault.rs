//! What can happen.

use std::time::Duration;

use tokio::time::advance;

use crate::{
    fold::Fold,
    net::{Crash, Side, Way},
    server::set_wall_clock,
    world::{World, watcher_host},
};

/// One thing that happens to the world.
#[derive(Debug, Clone)]
pub enum Fault {
    /// What these hosts send, or are sent, is held or lost; or is whole again.
    Link { hosts: Vec<usize>, to: Vec<Side>, way: Way },
    /// Something on the way resets these hosts' connections.
    Reset { hosts: Vec<usize> },
    /// What these hosts send and are sent travels for so long.
    Slow { hosts: Vec<usize>, latency: Duration },
    /// The application behind a proxy comes up or goes down.
    Flip { dataplane: usize },
    /// The host of an agent goes down.
    AgentCrash { dataplane: usize, crash: Crash },
    /// An agent says goodbye.
    AgentLeave { dataplane: usize },
    /// An agent starts; a second one if one runs.
    AgentStart { dataplane: usize, workload: usize },
    /// The server goes down.
    ServerCrash { crash: Crash },
    /// The server asks everybody to leave.
    ServerDrain,
    /// A server starts, in place of the one that is there, if one is.
    ServerStart,
    /// A watcher goes down and is started again, with what it knew or without.
    WatcherRestart { watcher: usize, crash: Crash, remembers: bool },
    /// Everybody sleeps through this time, as a virtual machine does that is
    /// moved or suspended: all that was due in it is due at once.
    Leap { by: Duration },
    /// The server's wall clock is set, forwards or back.
    WallClock { seconds: i64 },
}

impl World {
    /// Makes it happen.
    pub async fn suffer(&mut self, fault: &Fault) -> Result<(), String> {
        self.trace.note("fault", format_args!("{fault:?}"));
        match fault {
            Fault::Link { hosts, to, way } => {
                for host in hosts {
                    for side in to {
                        self.network.set_way(*host, *side, *way);
                    }
                }
            }
            Fault::Reset { hosts } => {
                for host in hosts {
                    self.network.reset(*host);
                }
            }
            Fault::Slow { hosts, latency } => {
                for host in hosts {
                    self.network.set_latency(*host, *latency);
                }
            }
            Fault::Flip { dataplane } => self.truth.slots[*dataplane].flip(),
            Fault::AgentCrash { dataplane, crash } => {
                // Whoever has ended by itself is not crashed.
                self.truth.reap().await?;
                self.truth.slots[*dataplane].crash(&self.network, *crash);
            }
            Fault::AgentLeave { dataplane } => self.truth.slots[*dataplane].leave(),
            Fault::AgentStart { dataplane, workload } => {
                self.truth.reap().await?;
                self.truth.slots[*dataplane].start(&self.network, *workload);
            }
            Fault::ServerCrash { crash } => self.server.crash(*crash),
            Fault::ServerDrain => self.server.drain(),
            Fault::ServerStart => {
                self.server.crash(Crash::Killed);
                self.start_server().await?;
            }
            Fault::WatcherRestart { watcher, crash, remembers } => {
                let fold = if *remembers { self.watchers[*watcher].fold() } else { Fold::default() };
                self.network.crash(watcher_host(*watcher), *crash);
                self.start_watcher(*watcher, fold);
            }
            Fault::Leap { by } => advance(*by).await,
            Fault::WallClock { seconds } => set_wall_clock(*seconds),
        }
        Ok(())
    }
}
