//! Tokens that clients send back: the position of a watch or of a listing.
//!
//! A token is opaque to clients but plain text, for people who debug: version, epoch,
//! revision and the fingerprint of the filter, and for a page the key after which it
//! begins. It holds no secret: a forged token asks for data that the same call returns
//! without it. A token is accepted only in the exact form that is issued here, so that
//! one position has one token.

use super::{Position, Registry};
use crate::model::{Invalid, WorkloadKey};

const RESUME: &str = "r1";
const PAGE: &str = "p1";

/// The resume token of a watch that is complete up to a revision, for the filter with
/// this fingerprint.
pub fn resume(registry: &Registry, revision: u64, fingerprint: u64) -> String {
    format!("{RESUME}.{}.{revision}.{fingerprint:016x}", registry.epoch())
}

/// Reads a resume token. None if the watch must start with a snapshot: no token, another
/// epoch, another filter.
///
/// # Errors
///
/// If the token was not issued by this service, or is of a future revision.
pub fn read_resume(registry: &Registry, token: &str, fingerprint: u64) -> Result<Option<Position>, Invalid> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid =
        |problem: &str| Invalid::new("resume_token", format!("{problem}; leave it empty to start afresh"));
    let parts = Parts::parse(RESUME, token).filter(|parts| parts.rest.is_none());
    let foreign = || invalid("is not a token of this service");
    let parts = parts.ok_or_else(foreign)?;
    if parts.epoch != registry.epoch() || parts.fingerprint != fingerprint {
        return Ok(None);
    }
    if parts.revision > registry.head() {
        return Err(invalid("names a revision that this server has not reached"));
    }
    if token != resume(registry, parts.revision, fingerprint) {
        return Err(foreign());
    }
    Ok(Some(Position(parts.revision)))
}

/// The token of the page that begins after a key.
pub fn page(registry: &Registry, revision: u64, fingerprint: u64, after: &WorkloadKey) -> String {
    format!("{PAGE}.{}.{revision}.{fingerprint:016x}.{}.{}", registry.epoch(), after.namespace, after.name)
}

/// A page token that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum PageToken {
    /// The first page.
    First,
    /// A listing of another epoch: it can't be continued.
    Stale,
    /// A later page.
    Next {
        /// The revision that the listing shows.
        revision: u64,
        /// The last key of the previous page.
        after: WorkloadKey,
    },
}

/// Reads a page token.
///
/// # Errors
///
/// If the token was not issued by this service, belongs to another filter, or is of a
/// future revision.
pub fn read_page(registry: &Registry, token: &str, fingerprint: u64) -> Result<PageToken, Invalid> {
    if token.is_empty() {
        return Ok(PageToken::First);
    }
    let invalid =
        |problem: &str| Invalid::new("page_token", format!("{problem}; leave it empty for the first page"));
    let foreign = || invalid("is not a token of this service");
    let parts = Parts::parse(PAGE, token).ok_or_else(foreign)?;
    let (namespace, name) = parts.rest.and_then(|rest| rest.split_once('.')).ok_or_else(foreign)?;
    let after = WorkloadKey::parse(namespace, name).map_err(|_| foreign())?;
    if parts.epoch != registry.epoch() {
        return Ok(PageToken::Stale);
    }
    if parts.fingerprint != fingerprint {
        return Err(invalid("belongs to a listing with another filter"));
    }
    if parts.revision > registry.head() {
        return Err(invalid("names a revision that this server has not reached"));
    }
    if token != page(registry, parts.revision, fingerprint, &after) {
        return Err(foreign());
    }
    Ok(PageToken::Next { revision: parts.revision, after })
}

/// The parts that all tokens have.
struct Parts<'a> {
    epoch: &'a str,
    revision: u64,
    fingerprint: u64,
    rest: Option<&'a str>,
}

impl<'a> Parts<'a> {
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
        let after = WorkloadKey::parse("shop", "a.b").unwrap();
        let token = page(&registry, 0, 7, &after);
        assert_eq!(read_page(&registry, &token, 7), Ok(PageToken::Next { revision: 0, after }));
    }

    #[test]
    fn a_token_of_another_life_or_filter_means_a_fresh_start() {
        let (registry, other) = (registry(), Registry::new(RegistrySettings::default()));
        assert_eq!(read_resume(&registry, &resume(&other, 5, 7), 7), Ok(None));
        assert_eq!(read_resume(&registry, &resume(&registry, 0, 8), 7), Ok(None));
        let after = WorkloadKey::parse("", "a").unwrap();
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
