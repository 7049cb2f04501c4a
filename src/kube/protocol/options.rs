//! What a list or a watch asks for: the query of its URL, checked once.

use std::{str::FromStr, time::Duration};

use super::status::Status;
use crate::model::{FieldSelector, LabelSelector};

/// The longest watch; clients come again by themselves.
const LONGEST_WATCH: Duration = Duration::from_hours(1);
/// How long a watch takes whose client does not say, at least; at most twice as
/// long, so that watches that began together do not end together.
const USUAL_WATCH: Duration = Duration::from_mins(30);

/// A list or a watch.
#[derive(Debug)]
pub(crate) enum Asked {
    List(ListOptions),
    Watch(WatchOptions),
}

/// What both have.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    pub(crate) include: Include,
}

#[derive(Debug)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    pub(crate) page: Page,
}

/// Which part of a listing, as it was when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The first, and all if there is no limit.
    First { limit: Option<usize>, at: At },
    /// One after it.
    Next { limit: Option<usize>, token: String },
}

/// As of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Now, and not before this revision.
    Latest { at_least: u64 },
    /// At this revision.
    Exactly(u64),
}

#[derive(Debug)]
pub(crate) struct WatchOptions {
    pub(crate) selection: Selection,
    pub(crate) start: Start,
    /// Whether to say now and then how far the reader is.
    pub(crate) bookmarks: bool,
    pub(crate) timeout: Duration,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With all there is, not before this revision; `mark`s the end of it.
    Everything { at_least: u64, mark: bool },
    /// After this revision.
    After(u64),
    /// With what changes from now on.
    Now,
}

/// What a table's rows say of their objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    #[default]
    Metadata,
    Object,
}

/// The parameters of a URL. Of one that comes twice the first counts; those that
/// nobody knows do not.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn new(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A parameter; empty is not there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name)?.1.as_str();
        (!value.is_empty()).then_some(value)
    }

    /// As Kubernetes reads it: everything that does not say no says yes, also
    /// nothing at all.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let value = &self.0.iter().find(|(known, _)| known == name)?.1;
        Some(!(value.eq_ignore_ascii_case("false") || value == "0"))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        let parse = |value: &str| {
            value.parse().map_err(|_| {
                Status::bad_request(format!(
                    "{name}: {:.64}: must be a whole number, 0 or more",
                    format!("{value:?}")
                ))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// The form of a table's rows.
    pub(crate) fn include(&self) -> Result<Include, Status> {
        match self.get("includeObject") {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("None") => Ok(Include::Nothing),
            Some("Object") => Ok(Include::Object),
            Some(_) => Err(Status::bad_request("includeObject: must be None, Metadata or Object")),
        }
    }

    /// The least revision for a single object.
    pub(crate) fn at_least(&self) -> Result<u64, Status> {
        Ok(self.number("resourceVersion")?.unwrap_or_default())
    }

    /// All of them, for a collection whose objects have these fields.
    pub(crate) fn options(&self, fields: &[&'static str]) -> Result<Asked, Status> {
        let labels = self.get("labelSelector").unwrap_or_default();
        let labels = labels.parse().map_err(|problem| refused("labelSelector", problem))?;
        let selector = self.get("fieldSelector").unwrap_or_default();
        let selector =
            FieldSelector::parse(selector, fields).map_err(|problem| refused("fieldSelector", problem))?;
        let selection = Selection { labels, fields: selector, include: self.include()? };
        if self.flag("watch") == Some(true) {
            let (start, bookmarks) = (self.start()?, self.flag("allowWatchBookmarks") == Some(true));
            return Ok(Asked::Watch(WatchOptions { selection, start, bookmarks, timeout: self.timeout()? }));
        }
        if self.flag("sendInitialEvents").is_some() {
            return Err(Status::invalid("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        Ok(Asked::List(ListOptions { selection, page: self.page()? }))
    }

    fn page(&self) -> Result<Page, Status> {
        let limit = self.number("limit")?.filter(|limit| *limit > 0);
        let version = self.number("resourceVersion")?;
        let r#match = self.get("resourceVersionMatch");
        if let Some(token) = self.get("continue") {
            if r#match.is_some() {
                return Err(forbidden_match("when continue is provided"));
            }
            if version.is_some_and(|version| version > 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            return Ok(Page::Next { limit, token: token.to_owned() });
        }
        let at = match (r#match, version) {
            (None, Some(revision)) if limit.is_some() && revision > 0 => At::Exactly(revision),
            (None | Some("NotOlderThan"), Some(at_least)) => At::Latest { at_least },
            (None, None) => At::Latest { at_least: 0 },
            (Some("Exact"), Some(0)) => {
                return Err(forbidden_match("as \"Exact\" for resourceVersion \"0\""));
            }
            (Some("Exact"), Some(revision)) => At::Exactly(revision),
            (Some("Exact" | "NotOlderThan"), None) => {
                return Err(forbidden_match("unless resourceVersion is provided"));
            }
            (Some(_), _) => return Err(unknown_match()),
        };
        Ok(Page::First { limit, at })
    }

    fn start(&self) -> Result<Start, Status> {
        let version = self.number("resourceVersion")?.unwrap_or_default();
        match (self.flag("sendInitialEvents"), self.get("resourceVersionMatch")) {
            (None, None) if version == 0 => Ok(Start::Everything { at_least: 0, mark: false }),
            (None, Some(_)) => Err(forbidden_match("for watch unless sendInitialEvents is provided")),
            (Some(true), Some("NotOlderThan")) => Ok(Start::Everything { at_least: version, mark: true }),
            (Some(false), Some("NotOlderThan")) if version == 0 => Ok(Start::Now),
            (None, None) | (Some(false), Some("NotOlderThan")) => Ok(Start::After(version)),
            (Some(_), Some("Exact")) => Err(forbidden_match("as \"Exact\" with sendInitialEvents")),
            (Some(_), Some(_)) => Err(unknown_match()),
            (Some(_), None) => Err(Status::invalid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
        }
    }

    fn timeout(&self) -> Result<Duration, Status> {
        match self.number("timeoutSeconds")?.filter(|seconds| *seconds > 0) {
            Some(seconds) => Ok(Duration::from_secs(seconds).min(LONGEST_WATCH)),
            None => Ok(USUAL_WATCH.mul_f64(1.0 + fastrand::f64())),
        }
    }
}

fn forbidden_match(when: &str) -> Status {
    Status::invalid("resourceVersionMatch", &format!("resourceVersionMatch is forbidden {when}"))
}

fn unknown_match() -> Status {
    Status::invalid("resourceVersionMatch", "must be \"Exact\" or \"NotOlderThan\"")
}

/// What is wrong with a selector, in bounded words.
fn refused(parameter: &str, problem: String) -> Status {
    Status::bad_request(format!("{parameter}: {}", crate::convert::abridged(problem)))
}

/// Refuses readers who have seen more than there is.
pub(crate) fn at_least(asked: u64, head: u64) -> Result<(), Status> {
    if asked > head { Err(Status::too_large(asked, head)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{Strategy, any, proptest},
        prop_oneof,
        sample::select,
    };

    use super::*;

    const NAMES: [&str; 10] = [
        "watch",
        "resourceVersion",
        "resourceVersionMatch",
        "sendInitialEvents",
        "allowWatchBookmarks",
        "timeoutSeconds",
        "limit",
        "continue",
        "labelSelector",
        "fieldSelector",
    ];
    const VALUES: [&str; 12] =
        ["", "true", "false", "0", "1", "7", "-1", "Exact", "NotOlderThan", "a=b", "metadata.name=web", "!a"];

    fn queries() -> impl Strategy<Value = String> {
        let value = prop_oneof![4 => select(&VALUES[..]).prop_map(str::to_owned), 1 => any::<String>()];
        vec((select(&NAMES[..]), value), 0..6)
            .prop_map(|pairs| form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
    }

    proptest! {
        /// Whatever is asked is understood or refused, and what is understood keeps
        /// the rules that the handlers rely on.
        #[test]
        fn what_is_understood_keeps_the_rules(query in queries()) {
            match Query::new(Some(&query)).options(&["metadata.name"]) {
                Ok(Asked::Watch(watch)) => {
                    assert!(watch.timeout > Duration::ZERO && watch.timeout <= 2 * USUAL_WATCH.max(LONGEST_WATCH));
                    assert_ne!(watch.start, Start::After(0), "0 is any, not the beginning");
                }
                Ok(Asked::List(list)) => match list.page {
                    Page::First { limit, at } => {
                        assert_ne!(limit, Some(0));
                        assert_ne!(at, At::Exactly(0));
                    }
                    Page::Next { limit, token } => assert!(limit != Some(0) && !token.is_empty()),
                },
                Err(refusal) => {
                    let text = String::from_utf8(super::super::response::encode(&refusal)).unwrap();
                    assert!(text.len() < 4_096, "{text}");
                }
            }
        }
    }
}
