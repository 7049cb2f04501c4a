//! headcount
pub mod proto;
pub mod grpc { pub mod codec; }
