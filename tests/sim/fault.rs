//! The faults that can be injected into a simulation.

use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::{
    dataplane::DATAPLANES,
    net::{Crash, LinkState, Side},
    replica::Replica,
    server::set_wall_clock,
    simulation::{Simulation, watcher_host},
    tokens::Tokens,
};

/// One event of a fault schedule.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The links of these hosts change state, in the directions toward these sides: a partition
    /// begins or ends.
    Link { hosts: Vec<usize>, toward: Vec<Side>, state: LinkState },
    /// A middlebox resets all connections of these hosts.
    Reset { hosts: Vec<usize> },
    /// A proxy on the way of all connections of these hosts carries nothing more, and still answers
    /// HTTP/2 PINGs.
    Strand { hosts: Vec<usize> },
    /// The latency of these hosts' links changes.
    Latency { hosts: Vec<usize>, latency: Duration },
    /// The application behind a proxy becomes healthy or unhealthy.
    HealthFlip { dataplane: usize },
    /// The host of an agent goes down.
    AgentCrash { dataplane: usize, crash: Crash },
    /// An agent shuts down with a goodbye.
    AgentLeave { dataplane: usize },
    /// An agent starts; if one runs already, there are two of the same dataplane.
    AgentStart { dataplane: usize, workload: usize },
    /// The server's host goes down.
    ServerCrash { crash: Crash },
    /// The server begins to drain its sessions.
    ServerDrain,
    /// A server starts; what it knows of earlier ones is on its disk, if it has one. A running one is
    /// killed first.
    ServerStart,
    /// A watcher goes down and starts again, with its replica and resume token or without.
    WatcherRestart { watcher: usize, crash: Crash, keeps_replica: bool },
    /// The server revokes all tokens of these dataplanes.
    Revoke { dataplanes: Vec<usize> },
    /// The agents of these dataplanes get a token that expires after this time, and reconnect with it.
    ExpiringToken { dataplanes: Vec<usize>, after: Duration },
    /// The agents of these dataplanes get the token of another dataplane, and reconnect with it.
    TokenOfAnother { dataplanes: Vec<usize> },
    /// The agents of these dataplanes get a new token.
    NewToken { dataplanes: Vec<usize> },
    /// All clocks jump forward, as those of a suspended virtual machine do: every timer within
    /// the jump fires at once.
    ClockJump { by: Duration },
    /// The server's wall clock is set, forward or backward.
    WallClock { seconds: i64 },
}

impl Simulation {
    /// Injects a fault.
    pub async fn inject(&mut self, fault: &Fault) -> Result<(), String> {
        self.trace.record("fault", format_args!("{fault:?}"));
        self.check_invariants().await?;
        match fault {
            Fault::Link { hosts, toward, state } => {
                for host in hosts {
                    for side in toward {
                        self.network.set_link(*host, *side, *state);
                    }
                }
            }
            Fault::Reset { hosts } => {
                for host in hosts {
                    self.network.reset(*host);
                }
            }
            Fault::Strand { hosts } => {
                for host in hosts {
                    self.network.strand(*host);
                }
            }
            Fault::Latency { hosts, latency } => {
                for host in hosts {
                    self.network.set_latency(*host, *latency);
                }
            }
            Fault::HealthFlip { dataplane } => self.oracle.dataplanes[*dataplane].flip_health(),
            Fault::AgentCrash { dataplane, crash } => {
                // An agent that has ended by itself has a result, which must be checked first.
                self.oracle.collect_results().await?;
                self.oracle.dataplanes[*dataplane].crash(&self.network, *crash);
            }
            Fault::AgentLeave { dataplane } => self.oracle.dataplanes[*dataplane].leave(),
            Fault::AgentStart { dataplane, workload } => {
                self.oracle.collect_results().await?;
                self.oracle.dataplanes[*dataplane].start(&self.network, *workload);
            }
            Fault::ServerCrash { crash } => self.server.crash(*crash),
            Fault::ServerDrain => self.server.drain(),
            Fault::ServerStart => {
                self.server.crash(Crash::Killed);
                self.start_server().await?;
            }
            Fault::WatcherRestart { watcher, crash, keeps_replica } => {
                let replica = if *keeps_replica {
                    self.watchers[*watcher].replica()
                } else {
                    Replica::new(self.server.is_durable())
                };
                self.network.crash(watcher_host(*watcher), *crash);
                self.start_watcher(*watcher, replica);
            }
            Fault::Revoke { dataplanes } => self.revoke(dataplanes).await,
            Fault::ExpiringToken { dataplanes, after } => {
                self.replace_tokens(dataplanes, |_, tokens| tokens.renew_for(*after));
            }
            Fault::TokenOfAnother { dataplanes } => self.replace_tokens(dataplanes, |dataplane, tokens| {
                tokens.replace_by_token_of((dataplane + 1) % DATAPLANES);
            }),
            Fault::NewToken { dataplanes } => {
                for dataplane in dataplanes {
                    if let Some(tokens) = self.oracle.dataplanes[*dataplane].tokens() {
                        tokens.renew();
                    }
                }
            }
            Fault::ClockJump { by } => {
                advance(*by).await;
                self.oracle.jumped_at = Instant::now();
            }
            Fault::WallClock { seconds } => {
                set_wall_clock(*seconds);
                self.oracle.clock_was_set = true;
            }
        }
        Ok(())
    }

    async fn revoke(&mut self, dataplanes: &[usize]) {
        for dataplane in dataplanes {
            let Some(tokens) = self.oracle.dataplanes[*dataplane].tokens() else { continue };
            if self.server.revoke(&tokens.ids()).await {
                tokens.revoked();
            }
        }
    }

    /// Their agents reconnect: on an open session they would send the new token within a minute.
    fn replace_tokens(&mut self, dataplanes: &[usize], replace: impl Fn(usize, &mut Tokens)) {
        for dataplane in dataplanes {
            if let Some(tokens) = self.oracle.dataplanes[*dataplane].tokens() {
                replace(*dataplane, tokens);
                self.network.reset(*dataplane);
            }
        }
    }
}
