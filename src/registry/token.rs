//! Tokens that clients hand back: where a watch or a listing was.
//!
//! They are opaque to clients but plain text, for people who debug: version,
//! epoch, revision and the fingerprint of the filter, then for pages the key
//! behind which the next one begins. They hold no secrets: who forges one only
//! asks for data that the same call gives without it. A token is taken letter by
//! letter as it is made here, so that one point has one token.

use crate::{
    convert,
    model::{Invalid, WorkloadKey},
    registry::{Position, Registry},
};

const RESUME: &str = "r1";
const PAGE: &str = "p1";

/// A watch with `fingerprint`'s filter knows everything up to a revision.
pub fn resume(registry: &Registry, revision: u64, fingerprint: u64) -> String {
    format!("{RESUME}.{}.{revision}.{fingerprint:016x}", registry.epoch())
}

/// Where a token says the reader was; none if that must be answered with a
/// snapshot: no token, another life of the server, another filter.
pub fn read_resume(registry: &Registry, token: &str, fingerprint: u64) -> Result<Option<Position>, Invalid> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid =
        |problem: &str| Invalid::new("resume_token", format!("{problem}; leave it empty to start afresh"));
    let point = Point::parse(RESUME, token).filter(|point| point.rest.is_none());
    let foreign = || invalid("is not a token of this service");
    let point = point.ok_or_else(foreign)?;
    if point.epoch != registry.epoch() || point.fingerprint != fingerprint {
        return Ok(None);
    }
    if point.revision > registry.head() {
        return Err(invalid("names a revision that this server has not reached"));
    }
    if token != resume(registry, point.revision, fingerprint) {
        return Err(foreign());
    }
    Ok(Some(Position(point.revision)))
}

/// The next page of a listing begins after a key.
pub fn page(registry: &Registry, revision: u64, fingerprint: u64, after: &WorkloadKey) -> String {
    format!("{PAGE}.{}.{revision}.{fingerprint:016x}.{}.{}", registry.epoch(), after.namespace, after.name)
}

/// What a page token says.
#[derive(Debug, PartialEq, Eq)]
pub enum PageToken {
    /// The first page.
    First,
    /// A listing of another life of the server: it can't go on.
    Stale,
    /// The page after a key, of the listing at a revision.
    Next {
        /// What the listing shows.
        revision: u64,
        /// The last key of the page before.
        after: WorkloadKey,
    },
}

/// Reads a page token.
pub fn read_page(registry: &Registry, token: &str, fingerprint: u64) -> Result<PageToken, Invalid> {
    if token.is_empty() {
        return Ok(PageToken::First);
    }
    let invalid =
        |problem: &str| Invalid::new("page_token", format!("{problem}; leave it empty for the first page"));
    let foreign = || invalid("is not a token of this service");
    let point = Point::parse(PAGE, token).ok_or_else(foreign)?;
    let (namespace, name) = point.rest.and_then(|rest| rest.split_once('.')).ok_or_else(foreign)?;
    let after = convert::workload_key(namespace, name).map_err(|_| foreign())?;
    if point.epoch != registry.epoch() {
        return Ok(PageToken::Stale);
    }
    if point.fingerprint != fingerprint {
        return Err(invalid("belongs to a listing with another filter"));
    }
    if point.revision > registry.head() {
        return Err(invalid("names a revision that this server has not reached"));
    }
    if token != page(registry, point.revision, fingerprint, &after) {
        return Err(foreign());
    }
    Ok(PageToken::Next { revision: point.revision, after })
}

struct Point<'a> {
    epoch: &'a str,
    revision: u64,
    fingerprint: u64,
    rest: Option<&'a str>,
}

impl<'a> Point<'a> {
    fn parse(version: &str, token: &'a str) -> Option<Self> {
        let mut parts = token.splitn(5, '.');
        if parts.next()? != version {
            return None;
        }
        let epoch = parts.next().filter(|epoch| !epoch.is_empty())?;
        let revision = parts.next()?.parse().ok()?;
        let fingerprint = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self { epoch, revision, fingerprint, rest: parts.next() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::RegistrySettings;

    fn registry() -> Registry {
        Registry::new(RegistrySettings::default())
    }

    #[test]
    fn a_token_leads_back_to_where_it_was_made() {
        let registry = registry();
        let token = resume(&registry, 0, 7);
        assert_eq!(read_resume(&registry, &token, 7), Ok(Some(Position(0))));
        let after = convert::workload_key("shop", "a.b").unwrap();
        let token = page(&registry, 0, 7, &after);
        assert_eq!(read_page(&registry, &token, 7), Ok(PageToken::Next { revision: 0, after }));
    }

    #[test]
    fn a_token_of_another_life_or_filter_means_a_fresh_start() {
        let (registry, other) = (registry(), Registry::new(RegistrySettings::default()));
        assert_eq!(read_resume(&registry, &resume(&other, 5, 7), 7), Ok(None));
        assert_eq!(read_resume(&registry, &resume(&registry, 0, 8), 7), Ok(None));
        let after = convert::workload_key("", "a").unwrap();
        assert_eq!(read_page(&registry, &page(&other, 1, 7, &after), 7), Ok(PageToken::Stale));
        assert!(read_page(&registry, &page(&registry, 1, 8, &after), 7).is_err());
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let registry = registry();
        let epoch = registry.epoch();
        for bad in [
            "x",
            "r1",
            "r1...",
            "r1..1.0",
            &format!("r1.{epoch}.-1.0"),
            &format!("r1.{epoch}.1.zz"),
            &format!("r1.{epoch}.0.0.more"),
            &format!("p1.{epoch}.0.0"),
            &format!("r1.{epoch}.99999999999999999999.0"),
            &format!("r1.{epoch}.{}.0", u64::MAX),
        ] {
            let error = read_resume(&registry, bad, 0).unwrap_err();
            assert!(error.to_string().starts_with("resume_token: "), "{error}");
            assert!(read_page(&registry, bad, 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_spellings_of_a_token_are_refused() {
        let registry = registry();
        let epoch = registry.epoch();
        for bad in ["+0.0000000000000007", "00.0000000000000007", "0.7", "0.+000000000000007"] {
            let resume = format!("r1.{epoch}.{bad}");
            assert!(read_resume(&registry, &resume, 7).is_err(), "{resume}");
            let page = format!("p1.{epoch}.{bad}.default.a");
            assert!(read_page(&registry, &page, 7).is_err(), "{page}");
        }
        let no_namespace = format!("p1.{epoch}.0.0000000000000007..a");
        assert!(read_page(&registry, &no_namespace, 7).is_err());
    }
}
