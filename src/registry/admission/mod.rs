//! Admission: how many dataplanes may connect, how fast, and how often the health of
//! one may change visibly.

mod capacity;
mod limit;
mod rate_limiter;
mod throttle;

pub(crate) use self::{
    capacity::Capacity,
    rate_limiter::{ClientClass, RateLimiter},
    throttle::Throttle,
};
pub use self::{limit::LimitReached, rate_limiter::RetryBehavior};
