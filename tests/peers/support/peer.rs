//! Looks up the installed peer programs.

use std::{env, path::PathBuf, sync::LazyLock};

/// Returns the path of a peer program. If it is missing, prints `SKIPPED` and returns none; the test then
/// returns early.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    static DIRECTORIES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| match env::var_os("HEADCOUNT_PEERS") {
        Some(directory) => vec![directory.into()],
        None => env::var_os("PATH").iter().flat_map(env::split_paths).collect(),
    });
    let found = DIRECTORIES.iter().map(|directory| directory.join(name)).find(|program| program.is_file());
    if found.is_none() {
        let required = env::var("HEADCOUNT_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(!required, "{name} is missing: `scripts/peers.sh test` installs it");
        println!("SKIPPED: {name} is missing; `make test` installs it");
    }
    found
}
