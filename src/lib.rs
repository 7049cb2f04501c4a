//! headcount
pub mod changelog;
pub mod events;
pub mod model;
pub mod proto;
pub mod registry;
pub mod wire;
pub mod grpc {
    pub mod codec;
}
