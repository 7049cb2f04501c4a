//! Content negotiation: which representation a request's `Accept` header selects.

use axum::http::{HeaderMap, header::ACCEPT};

use super::status::Status;

/// How an object, or a list of objects, is represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    /// Whole objects.
    Full,
    /// `PartialObjectMetadata`: the metadata only.
    Metadata,
    /// A `Table`, with its API version.
    Table(&'static str),
}

/// How discovery documents are represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiscoveryFormat {
    /// One document for each level: groups, versions, resources.
    PerLevel,
    /// All levels in one document, with its version of `apidiscovery.k8s.io`.
    Aggregated(&'static str),
}

/// A media range of an `Accept` header, with the parameters that Kubernetes defines.
struct MediaRange<'a> {
    media: &'a str,
    r#as: &'a str,
    group: &'a str,
    version: &'a str,
}

impl<'a> MediaRange<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { media: parts.next().unwrap_or_default(), r#as: "", group: "", version: "" };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "as" => range.r#as = value.trim(),
                "g" => range.group = value.trim(),
                "v" => range.version = value.trim(),
                // Kubernetes' clients don't depend on the others (`q`, `charset`, `stream`).
                _ => {}
            }
        }
        range
    }

    fn is_json(&self) -> bool {
        ["application/json", "application/*", "*/*"].iter().any(|json| json.eq_ignore_ascii_case(self.media))
    }
}

/// Returns the accepted media ranges in the order of the header; `*/*` if there are none.
fn media_ranges(headers: &HeaderMap) -> impl Iterator<Item = MediaRange<'_>> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty());
    let mut ranges = ranges.map(MediaRange::parse).peekable();
    let default = ranges.peek().is_none().then(|| MediaRange::parse("*/*"));
    ranges.chain(default)
}

impl Representation {
    /// Returns the first accepted representation that the server supports.
    ///
    /// # Errors
    ///
    /// 406 if it supports none of them.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Self, Status> {
        media_ranges(headers)
            .filter(MediaRange::is_json)
            .find_map(|range| match (range.r#as, range.group, range.version) {
                ("", ..) => Some(Self::Full),
                ("Table", "meta.k8s.io", "v1") => Some(Self::Table("meta.k8s.io/v1")),
                ("Table", "meta.k8s.io", "v1beta1") => Some(Self::Table("meta.k8s.io/v1beta1")),
                ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
                    Some(Self::Metadata)
                }
                _ => None,
            })
            .ok_or_else(Status::not_acceptable)
    }
}

impl DiscoveryFormat {
    /// Returns the first accepted format that the server supports, or [`Self::PerLevel`] if it
    /// supports none: kubectl takes a 406 for a server without resources.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Self {
        media_ranges(headers)
            .filter(MediaRange::is_json)
            .find_map(|range| match (range.r#as, range.group, range.version) {
                ("", ..) => Some(Self::PerLevel),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(Self::Aggregated("v2")),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
                    Some(Self::Aggregated("v2beta1"))
                }
                _ => None,
            })
            .unwrap_or(Self::PerLevel)
    }
}

/// Whether the header lists `media` before any range that includes JSON.
pub(crate) fn prefers(headers: &HeaderMap, media: &str) -> bool {
    media_ranges(headers)
        .find(|range| range.is_json() || range.media.eq_ignore_ascii_case(media))
        .is_some_and(|first| !first.is_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &[&str]) -> HeaderMap {
        accept.iter().map(|value| (ACCEPT, value.parse().unwrap())).collect()
    }

    #[test]
    fn the_first_supported_representation_is_selected() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, expected) in [
            (&[][..], Representation::Full),
            (&[""], Representation::Full),
            (&["*/*"], Representation::Full),
            (&["application/json, */*"], Representation::Full),
            (&["application/vnd.kubernetes.protobuf,application/json"], Representation::Full),
            (&[table], Representation::Table("meta.k8s.io/v1")),
            (&["application/json; g=meta.k8s.io ; v = v1;as=Table"], Representation::Table("meta.k8s.io/v1")),
            (
                &["application/json;as=Table;v=v1beta1;g=meta.k8s.io", table],
                Representation::Table("meta.k8s.io/v1beta1"),
            ),
            (&["application/json;as=Table;v=v9;g=meta.k8s.io,application/json"], Representation::Full),
            (&["application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"], Representation::Metadata),
            (&["text/html, application/json;q=0.9;charset=utf-8"], Representation::Full),
        ] {
            assert_eq!(Representation::negotiate(&headers(accept)).unwrap(), expected, "{accept:?}");
        }
        for unsupported in
            ["application/json;as=Table;v=v9;g=meta.k8s.io", "application/yaml", "text/plain;as=Table"]
        {
            assert!(Representation::negotiate(&headers(&[unsupported])).is_err(), "{unsupported}");
        }
    }

    #[test]
    fn discovery_is_never_rejected_as_not_acceptable() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        for (accept, expected) in [
            (format!("{v2},{v2beta1},application/json"), DiscoveryFormat::Aggregated("v2")),
            (format!("{v2beta1},application/json"), DiscoveryFormat::Aggregated("v2beta1")),
            ("application/json, */*".into(), DiscoveryFormat::PerLevel),
            (
                "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList".into(),
                DiscoveryFormat::PerLevel,
            ),
            ("application/yaml".into(), DiscoveryFormat::PerLevel),
        ] {
            assert_eq!(DiscoveryFormat::negotiate(&headers(&[&accept])), expected, "{accept}");
        }
    }

    #[test]
    fn a_media_type_is_preferred_if_it_is_listed_before_json() {
        let proto = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        for (accept, preferred) in [
            (proto.to_owned(), true),
            (format!("{proto}, application/json"), true),
            (format!("application/json, {proto}"), false),
            ("*/*".to_owned(), false),
            ("text/html".to_owned(), false),
        ] {
            assert_eq!(prefers(&headers(&[&accept]), proto), preferred, "{accept}");
        }
    }
}
