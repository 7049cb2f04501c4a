//! Query parameters, and the options parsed from them. Handlers validate nothing again.

use std::{str::FromStr, time::Duration};

use super::{
    options::{
        CollectionOptions, IncludeObject, ListOptions, ListRevision, Page, Selection, WatchOptions,
        WatchStart,
    },
    status::Status,
};
use crate::model::FieldSelector;

/// The longest watch. Clients reconnect by themselves.
const MAX_WATCH_TIMEOUT: Duration = Duration::from_hours(1);
/// Shortest default timeout of a watch. Defaults are spread up to twice as long, so that
/// watches that began together don't end together.
const DEFAULT_WATCH_TIMEOUT: Duration = Duration::from_mins(30);

/// The query parameters of a URL. The first of repeated parameters counts; unknown ones are
/// ignored.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn new(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// Returns a parameter unless it is missing or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name)?.1.as_str();
        (!value.is_empty()).then_some(value)
    }

    /// Returns a boolean parameter, if present. As in Kubernetes, every value other than
    /// `false` and `0` is true, including the empty one.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let value = &self.0.iter().find(|(known, _)| known == name)?.1;
        Some(!(value.eq_ignore_ascii_case("false") || value == "0"))
    }

    /// Parses `resourceVersion`, if it is present and not empty.
    fn resource_version(&self) -> Result<Option<u64>, Status> {
        let parse = |value| parse("resourceVersion", value, "a whole number, 0 or more");
        self.get("resourceVersion").map(parse).transpose()
    }

    /// Parses a number, if present. As in Kubernetes, an empty value is an error, and a negative one is not.
    fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let parse = |(_, value): &(String, String)| parse(name, value, "a whole number");
        self.0.iter().find(|(known, _)| known == name).map(parse).transpose()
    }

    /// Parses `includeObject`.
    ///
    /// # Errors
    ///
    /// 400 if the value is unknown.
    pub(crate) fn include_object(&self) -> Result<IncludeObject, Status> {
        match self.get("includeObject") {
            None | Some("Metadata") => Ok(IncludeObject::Metadata),
            Some("None") => Ok(IncludeObject::None),
            Some("Object") => Ok(IncludeObject::Object),
            Some(_) => Err(Status::bad_request("includeObject: must be None, Metadata or Object")),
        }
    }

    /// Parses `resourceVersion` of a request for a single object, which must be that revision or
    /// newer; 0 if there is none.
    ///
    /// # Errors
    ///
    /// 400 if the value is not a number.
    pub(crate) fn not_older_than(&self) -> Result<u64, Status> {
        Ok(self.resource_version()?.unwrap_or_default())
    }

    /// Parses the options of a list or a watch; `fields` are the supported field selectors.
    ///
    /// # Errors
    ///
    /// 400 if a parameter is malformed, 422 if parameters contradict each other.
    pub(crate) fn options(&self, fields: &[&'static str]) -> Result<CollectionOptions, Status> {
        let labels = self.get("labelSelector").unwrap_or_default();
        let labels = labels.parse().map_err(|problem| invalid_selector("labelSelector", problem))?;
        let selector = self.get("fieldSelector").unwrap_or_default();
        let selector = FieldSelector::parse(selector, fields)
            .map_err(|problem| invalid_selector("fieldSelector", problem))?;
        let selection = Selection { labels, fields: selector, include: self.include_object()? };
        if self.flag("watch") == Some(true) {
            let (start, bookmarks) = (self.watch_start()?, self.flag("allowWatchBookmarks") == Some(true));
            let options = WatchOptions { selection, start, bookmarks, timeout: self.timeout()? };
            return Ok(CollectionOptions::Watch(options));
        }
        if self.flag("sendInitialEvents").is_some() {
            return Err(Status::invalid("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        }
        Ok(CollectionOptions::List(ListOptions { selection, page: self.page()? }))
    }

    fn page(&self) -> Result<Page, Status> {
        let limit = self.number("limit")?.filter(|limit| *limit > 0).and_then(|limit| limit.try_into().ok());
        let version = self.resource_version()?;
        let r#match = self.get("resourceVersionMatch");
        if let Some(token) = self.get("continue") {
            if r#match.is_some() {
                return Err(match_forbidden("when continue is provided"));
            }
            if version.is_some_and(|version| version > 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            return Ok(Page::Next { limit, token: token.to_owned() });
        }
        let at = match (r#match, version) {
            (None, Some(revision)) if limit.is_some() && revision > 0 => ListRevision::Exact(revision),
            (None | Some("NotOlderThan"), Some(revision)) => {
                ListRevision::Latest { not_older_than: revision }
            }
            (None, None) => ListRevision::Latest { not_older_than: 0 },
            (Some("Exact"), Some(0)) => {
                return Err(match_forbidden("as \"Exact\" for resourceVersion \"0\""));
            }
            (Some("Exact"), Some(revision)) => ListRevision::Exact(revision),
            (Some("Exact" | "NotOlderThan"), None) => {
                return Err(match_forbidden("unless resourceVersion is provided"));
            }
            (Some(_), _) => return Err(match_unknown()),
        };
        Ok(Page::First { limit, at })
    }

    fn watch_start(&self) -> Result<WatchStart, Status> {
        let version = self.resource_version()?.unwrap_or_default();
        match (self.flag("sendInitialEvents"), self.get("resourceVersionMatch")) {
            (None, None) if version == 0 => {
                Ok(WatchStart::InitialEvents { not_older_than: 0, mark_end: false })
            }
            (None, Some(_)) => Err(match_forbidden("for watch unless sendInitialEvents is provided")),
            (Some(true), Some("NotOlderThan")) => {
                Ok(WatchStart::InitialEvents { not_older_than: version, mark_end: true })
            }
            (Some(false), Some("NotOlderThan")) if version == 0 => Ok(WatchStart::Now),
            (None, None) | (Some(false), Some("NotOlderThan")) => Ok(WatchStart::After(version)),
            (Some(_), Some("Exact")) => Err(match_forbidden("as \"Exact\" with sendInitialEvents")),
            (Some(_), Some(_)) => Err(match_unknown()),
            (Some(_), None) => Err(Status::invalid(
                "resourceVersionMatch",
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )),
        }
    }

    fn timeout(&self) -> Result<Duration, Status> {
        match self.number("timeoutSeconds")?.filter(|seconds| *seconds != 0) {
            // A negative timeout has passed already.
            Some(seconds) => {
                Ok(Duration::from_secs(seconds.try_into().unwrap_or_default()).min(MAX_WATCH_TIMEOUT))
            }
            None => Ok(DEFAULT_WATCH_TIMEOUT.mul_f64(1.0 + fastrand::f64())),
        }
    }
}

fn match_forbidden(when: &str) -> Status {
    Status::invalid("resourceVersionMatch", &format!("resourceVersionMatch is forbidden {when}"))
}

fn match_unknown() -> Status {
    Status::invalid("resourceVersionMatch", "must be \"Exact\" or \"NotOlderThan\"")
}

fn parse<T: FromStr>(name: &str, value: &str, expected: &str) -> Result<T, Status> {
    value
        .parse()
        .map_err(|_| Status::bad_request(format!("{name}: {:.64}: must be {expected}", format!("{value:?}"))))
}

/// 400, with a message of bounded length: selectors may be long.
fn invalid_selector(parameter: &str, problem: String) -> Status {
    Status::bad_request(format!("{parameter}: {}", crate::convert::abridged(problem)))
}

/// Checks that the server has reached a requested revision.
///
/// # Errors
///
/// 504 if `requested` is newer than `latest`.
pub(crate) fn check_reached(requested: u64, latest: u64) -> Result<(), Status> {
    if requested > latest { Err(Status::resource_version_too_large(requested, latest)) } else { Ok(()) }
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
    use crate::kube::protocol::response::to_json;

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
        /// Every query is accepted or rejected, and accepted options have the properties that
        /// the handlers rely on.
        #[test]
        fn accepted_options_have_the_properties_that_handlers_rely_on(query in queries()) {
            match Query::new(Some(&query)).options(&["metadata.name"]) {
                Ok(CollectionOptions::Watch(watch)) => {
                    assert!(watch.timeout <= 2 * DEFAULT_WATCH_TIMEOUT.max(MAX_WATCH_TIMEOUT));
                    assert_ne!(watch.start, WatchStart::After(0), "0 means any revision");
                }
                Ok(CollectionOptions::List(list)) => match list.page {
                    Page::First { limit, at } => {
                        assert_ne!(limit, Some(0));
                        assert_ne!(at, ListRevision::Exact(0));
                    }
                    Page::Next { limit, token } => assert!(limit != Some(0) && !token.is_empty()),
                },
                Err(status) => {
                    let text = String::from_utf8(to_json(&status)).unwrap();
                    assert!(text.len() < 4_096, "{text}");
                }
            }
        }
    }
}
