//! Stores through their public interface.
//!
//! ```text
//!   conformance   the rules that every store keeps, against memory and a data directory
//!   model         random operations against a map
//!   bad_files     data directories that can't be used: the message, and the files unchanged
//!   directory     data directories for these tests, and processes that use them
//!   subject       the stores under test
//!   locks         two users of one directory
//!   removed       files that are removed or replaced while they are open
//! ```
//!
//! Faults of the disk and crashes are in `src/store/embedded/tests`. `HEADCOUNT_STORE_CASES` sets
//! the number of random sequences.

// A test crate has no public API: `pub` means "visible in this crate".
#![allow(unreachable_pub)]

mod bad_files;
#[macro_use]
mod conformance;
mod directory;
mod locks;
mod model;
mod removed;
mod subject;

use self::subject::{Directory, Memory};

mod memory {
    use super::{Memory, conformance};
    every_rule!(Memory::new());
}

mod data_dir {
    use super::{Directory, conformance};
    every_rule!(Directory::new());
    every_rule_of_durability!(Directory::new());
}
