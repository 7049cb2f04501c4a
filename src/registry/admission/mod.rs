//! Admission: how many dataplanes may connect, how fast, which of several processes of one
//! dataplane, and how often the health of one may change visibly.

mod account;
mod capacity;
mod footprint;
mod histories;
mod history;
mod limit;
mod rate_limiter;
mod shares;
mod stored;
mod throttle;
mod usage;

pub use self::{
    account::{Account, Accounts},
    limit::{ClientResource, LimitReached},
    rate_limiter::RetryBehavior,
    shares::{ClientShares, SharePermit},
    stored::LimitsExceeded,
};
pub(crate) use self::{
    capacity::{Capacity, MemoryPermit, Replaced, Reservation},
    footprint::footprint,
    histories::Histories,
    history::{Hello, HoldOff, Known, NotAdmitted, Present, Stage},
    rate_limiter::{ClientClass, RateLimiter},
    stored::check_stored,
    throttle::Throttle,
};
