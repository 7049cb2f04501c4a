//! headcount
pub mod model;
pub mod proto;
pub mod grpc {
    pub mod codec;
}
