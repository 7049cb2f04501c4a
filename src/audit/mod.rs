//! Access control of a listener: who sends each request, and a record of what is refused.
//!
//! A server authenticates each request by its [`AccessControl`], and asks the [`AuditedCaller`] that
//! it returns whether the caller may do what the request asks for. What is refused is logged and
//! counted in one place.

mod auditor;
mod caller;
mod control;
mod origin;

pub use self::{
    auditor::Subject,
    caller::{AuditedCall, AuditedCaller},
    control::AccessControl,
    origin::Origin,
};
