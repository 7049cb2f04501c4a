//! The Kubernetes API over real sockets, as kubectl and informers use it: what
//! they ask for, what they must not be answered, and what strangers try.

#[path = "../answer/mod.rs"]
mod answer;
mod anything;
mod cut;
mod discovery;
mod drain;
mod errors;
mod events;
mod history;
mod limits;
mod listing;
mod openapi;
mod options;
mod selectors;
mod strangers;
mod support;
mod tables;
mod watch;
mod writes;
