//! Where real peers are.

use std::{env, path::PathBuf, sync::LazyLock};

/// The program of a peer; none, and the reason is printed, if it is missing.
/// Then the test is to return.
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    static PLACES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| match env::var_os("HEADCOUNT_PEERS") {
        Some(directory) => vec![directory.into()],
        None => env::var_os("PATH").iter().flat_map(env::split_paths).collect(),
    });
    let found = PLACES.iter().map(|place| place.join(name)).find(|program| program.is_file());
    if found.is_none() {
        let required = env::var("HEADCOUNT_REQUIRE_PEERS").is_ok_and(|value| value == "1");
        assert!(!required, "{name} is missing: `scripts/peers.sh test` installs it");
        println!("SKIPPED: {name} is missing; `make test` installs it");
    }
    found
}
