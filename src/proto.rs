//! Generated code: what is on the wire. The reference documentation stands in
//! `proto/headcount/v1/*.proto`.
#![allow(missing_docs, unused_qualifications, clippy::pedantic)]

tonic::include_proto!("headcount.v1");

/// Descriptors of the whole surface, for server reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("headcount");

/// The services' side, in which a `Workload` is bytes that are encoded already
/// (see `build.rs`). All other messages are those of the parent module.
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/headcount.v1.rs"));
}
