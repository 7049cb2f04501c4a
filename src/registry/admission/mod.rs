//! Admission: how many dataplanes may connect, how fast, which of several processes of one
//! dataplane, and how often the health of one may change visibly.

mod capacity;
mod footprint;
mod histories;
mod history;
mod limit;
mod rate_limiter;
mod stored;
mod throttle;

pub(crate) use self::{
    capacity::{Capacity, MemoryPermit, Reservation},
    footprint::footprint,
    histories::Histories,
    history::{Hello, HoldOff, Known, NotAdmitted, Present, Stage},
    rate_limiter::{ClientClass, RateLimiter},
    stored::check_stored,
    throttle::Throttle,
};
pub use self::{limit::LimitReached, rate_limiter::RetryBehavior, stored::LimitsExceeded};
