//! headcount
pub mod agent;
pub mod model;
pub mod proto;
pub mod wire;
pub mod grpc { pub mod codec; }
