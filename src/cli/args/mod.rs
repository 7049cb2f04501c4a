//! The building blocks of command lines: types of flag values, groups of flags that several
//! commands share, and the report of everything that is wrong with them.
//!
//! A new flag is a field of its command's `...Args`, of type [`Parsed`]`<T>` where the value
//! has a format, and a row in `docs/configuration.md`.

pub(super) mod dataplane_file;
pub(super) mod key_use;
pub(super) mod kube_api_addr;
pub(super) mod log;
mod parsed;
pub(super) mod period;
mod problems;
pub(super) mod security;
pub(super) mod server;
pub(super) mod server_url;
pub(super) mod switch;

pub use parsed::{Parsed, choice};
pub(super) use problems::Origin;
pub use problems::Problems;
