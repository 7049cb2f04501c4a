//! cli
mod config;
mod config_file;
mod outcome;
mod parsed;
mod problems;
pub use outcome::{Failure, Outcome};
pub use parsed::{Parsed, choice};
pub use problems::Problems;
