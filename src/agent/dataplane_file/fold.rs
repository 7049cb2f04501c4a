//! Combines the inbounds of one port.
//!
//! In Kuma an inbound is identified by its address and port, and a port may be listed once for
//! each of several addresses or Services. headcount identifies an inbound by its port: such an
//! inbound is ready if it is ready on any address, so a dataplane counts as healthy exactly when
//! Kuma's rule finds a ready inbound among all of them.

use super::inbound::{Application, Inbound};
use crate::model::{InboundSpec, Invalid, Quoted, WORKLOAD_LABEL, entry};

/// All inbounds of one port.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) spec: InboundSpec,
    pub(super) health: FileInbound,
}

/// How the health of an inbound is determined.
#[derive(Debug, Clone, PartialEq)]
pub struct FileInbound {
    /// Path of the inbound in the document; of the first one if several have its port.
    pub path: String,
    /// Its applications, without duplicates; at least one.
    pub applications: Vec<Application>,
    /// False if the document states that the inbound is not ready.
    pub may_be_ready: bool,
}

/// Combines inbounds of the same port; the others stay as they are.
pub(super) fn fold(inbounds: Vec<Inbound>) -> Result<Vec<Folded>, Invalid> {
    let mut folded: Vec<Folded> = Vec::new();
    for inbound in inbounds {
        let port = u32::from(inbound.port);
        match folded.iter_mut().find(|other| other.spec.port == port) {
            Some(first) => first.add(inbound)?,
            None => folded.push(Folded {
                spec: InboundSpec { port, name: inbound.name, tags: inbound.tags },
                health: FileInbound {
                    path: inbound.path,
                    applications: vec![inbound.application],
                    may_be_ready: inbound.may_be_ready,
                },
            }),
        }
    }
    Ok(folded)
}

impl Folded {
    /// Adds another inbound of the same port. Of tags with different values the first one stays,
    /// except the workload's, on which all must agree.
    fn add(&mut self, inbound: Inbound) -> Result<(), Invalid> {
        if self.spec.name.is_empty() {
            self.spec.name = inbound.name;
        }
        for (key, value) in inbound.tags {
            let first = self.spec.tags.entry(key.clone()).or_insert_with(|| value.clone());
            if key == WORKLOAD_LABEL && *first != value {
                let at = entry(&format!("{}.tags", self.health.path), WORKLOAD_LABEL);
                let problem =
                    format!("{}: disagrees with {at} ({first:?}): give all the same value", Quoted(&value));
                return Err(Invalid::new(entry(&format!("{}.tags", inbound.path), &key), problem));
            }
        }
        match (self.health.may_be_ready, inbound.may_be_ready) {
            // One that is never ready adds nothing to one that may be.
            (true, false) => {}
            (false, true) => {
                self.health.may_be_ready = true;
                self.health.applications = vec![inbound.application];
            }
            (true, true) | (false, false) => self.add_application(inbound.application),
        }
        Ok(())
    }

    /// Adds an application. Several Services on one port lead to the same one, which is probed
    /// once.
    fn add_application(&mut self, application: Application) {
        let applications = &mut self.health.applications;
        let same =
            |other: &&mut Application| (&other.host, other.port) == (&application.host, application.port);
        match applications.iter_mut().find(same) {
            Some(first) if first.probe.is_none() => *first = application,
            Some(_) => {}
            None => applications.push(application),
        }
    }
}
