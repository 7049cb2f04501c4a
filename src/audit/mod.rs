//! Access control of a listener: the caller of each request, and a record of what is refused.
//!
//! A server authenticates each request by its [`AccessControl`], and asks the [`AuditedCaller`] that
//! it returns whether the caller may do what the request asks for. What is refused is logged and
//! counted in one place. `log` is the audit log, which also has what callers change.

mod auditor;
mod caller;
mod control;
mod log;
mod operation;
mod origin;
mod request_id;

pub use self::{
    auditor::Subject,
    caller::{AuditedCall, AuditedCaller},
    control::AccessControl,
    log::{AuditLog, CannotOpen, LogFile, WriterThread},
    operation::Operation,
    origin::Origin,
    request_id::RequestId,
};
