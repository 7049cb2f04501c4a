//! In which form an answer is wanted.

use axum::http::{HeaderMap, header::ACCEPT};

use super::status::Status;

/// Forms of an object, or of a list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// Its metadata alone.
    Metadata,
    /// As rows, of this version of Kubernetes' `meta.k8s.io`.
    Table(&'static str),
}

/// Forms of a discovery document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discovery {
    /// A document for each level.
    Plain,
    /// All in one, of this version of `apidiscovery.k8s.io`.
    Aggregated(&'static str),
}

/// One thing that a client accepts: a media type, and what else it says of it.
struct Accepted<'a> {
    media: &'a str,
    r#as: &'a str,
    group: &'a str,
    version: &'a str,
}

impl<'a> Accepted<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut accepted = Self { media: parts.next().unwrap_or_default(), r#as: "", group: "", version: "" };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "as" => accepted.r#as = value.trim(),
                "g" => accepted.group = value.trim(),
                "v" => accepted.version = value.trim(),
                // Nobody's preference depends on the others (`q`, `charset`, `stream`).
                _ => {}
            }
        }
        accepted
    }

    fn is_json(&self) -> bool {
        ["application/json", "application/*", "*/*"].iter().any(|json| json.eq_ignore_ascii_case(self.media))
    }
}

/// All that is accepted, in the order of the header. Who says nothing takes all.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = Accepted<'_>> {
    let said = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let members = said.flat_map(|value| value.split(',')).map(str::trim).filter(|member| !member.is_empty());
    let mut members = members.map(Accepted::parse).peekable();
    let silent = members.peek().is_none().then(|| Accepted::parse("*/*"));
    members.chain(silent)
}

impl Form {
    /// The first form among those accepted that there is.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        accepted(headers)
            .filter(Accepted::is_json)
            .find_map(|accepted| match (accepted.r#as, accepted.group, accepted.version) {
                ("", ..) => Some(Self::Plain),
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

impl Discovery {
    /// The first form among those accepted that there is. Who accepts none gets
    /// the plain one: kubectl reads a refusal as a server that has nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        accepted(headers)
            .filter(Accepted::is_json)
            .find_map(|accepted| match (accepted.r#as, accepted.group, accepted.version) {
                ("", ..) => Some(Self::Plain),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(Self::Aggregated("v2")),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
                    Some(Self::Aggregated("v2beta1"))
                }
                _ => None,
            })
            .unwrap_or(Self::Plain)
    }
}

/// Whether this media type is accepted before JSON is.
pub(crate) fn prefers(headers: &HeaderMap, media: &str) -> bool {
    accepted(headers)
        .find(|accepted| accepted.is_json() || accepted.media.eq_ignore_ascii_case(media))
        .is_some_and(|first| !first.is_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &[&str]) -> HeaderMap {
        accept.iter().map(|value| (ACCEPT, value.parse().unwrap())).collect()
    }

    #[test]
    fn the_first_form_that_there_is_counts() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        for (accept, form) in [
            (&[][..], Form::Plain),
            (&[""], Form::Plain),
            (&["*/*"], Form::Plain),
            (&["application/json, */*"], Form::Plain),
            (&["application/vnd.kubernetes.protobuf,application/json"], Form::Plain),
            (&[table], Form::Table("meta.k8s.io/v1")),
            (&["application/json; g=meta.k8s.io ; v = v1;as=Table"], Form::Table("meta.k8s.io/v1")),
            (
                &["application/json;as=Table;v=v1beta1;g=meta.k8s.io", table],
                Form::Table("meta.k8s.io/v1beta1"),
            ),
            (&["application/json;as=Table;v=v9;g=meta.k8s.io,application/json"], Form::Plain),
            (&["application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"], Form::Metadata),
            (&["text/html, application/json;q=0.9;charset=utf-8"], Form::Plain),
        ] {
            assert_eq!(Form::of(&headers(accept)).unwrap(), form, "{accept:?}");
        }
        for nothing in
            ["application/json;as=Table;v=v9;g=meta.k8s.io", "application/yaml", "text/plain;as=Table"]
        {
            assert!(Form::of(&headers(&[nothing])).is_err(), "{nothing}");
        }
    }

    #[test]
    fn discovery_is_never_refused() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        for (accept, form) in [
            (format!("{v2},{v2beta1},application/json"), Discovery::Aggregated("v2")),
            (format!("{v2beta1},application/json"), Discovery::Aggregated("v2beta1")),
            ("application/json, */*".into(), Discovery::Plain),
            ("application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList".into(), Discovery::Plain),
            ("application/yaml".into(), Discovery::Plain),
        ] {
            assert_eq!(Discovery::of(&headers(&[&accept])), form, "{accept}");
        }
    }

    #[test]
    fn another_media_type_counts_if_it_comes_before_json() {
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
