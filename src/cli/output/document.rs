//! JSON and YAML documents.

use serde::Serialize;
use serde_json::{Serializer, ser::PrettyFormatter};

use super::{ChangeType, Format};
use crate::cli::terminal::visible_json;

/// A list of resources, as kubectl prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<T>,
}

impl<T> List<T> {
    pub(super) fn new(items: Vec<T>) -> Self {
        Self { api_version: "v1", kind: "List", items }
    }
}

/// A change, as kubectl prints it with `--output-watch-events`.
#[derive(Serialize)]
struct WatchEvent<'a, T> {
    r#type: ChangeType,
    object: &'a T,
}

/// Formats a document as YAML, or else as JSON with kubectl's indentation.
pub(crate) fn document(format: Format, resource: &impl Serialize) -> String {
    if format == Format::Yaml { yaml(resource) } else { json(resource) }
}

/// Formats one change as a line of JSON or a YAML document.
pub(super) fn watch_event(format: Format, r#type: ChangeType, object: &impl Serialize) -> String {
    let event = WatchEvent { r#type, object };
    if format == Format::Yaml {
        return format!("---\n{}", yaml(&event));
    }
    let json = serde_json::to_string(&event).expect(SERIALIZABLE);
    visible_json(&json).into_owned() + "\n"
}

/// All keys of the resources are strings and all numbers are integers.
const SERIALIZABLE: &str = "a resource can be serialized in every format";

fn json(resource: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    resource.serialize(&mut serializer).expect(SERIALIZABLE);
    visible_json(&String::from_utf8_lossy(&text)).into_owned() + "\n"
}

fn yaml(resource: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(resource, options).expect(SERIALIZABLE);
    // The serializer escapes control characters, but not bidirectional marks. YAML has JSON's escapes.
    visible_json(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_with_unsafe_characters_is_yaml() {
        for text in ["\u{1b}[2J\u{202e}\u{9b}", "a\u{202e}b", "\u{2028}"] {
            let yaml = document(Format::Yaml, &[text]);
            assert!(
                !yaml.contains(['\u{1b}', '\u{9b}', '\u{2028}', '\u{202e}']) && yaml.ends_with('\n'),
                "{yaml:?}"
            );
            let read: Result<[String; 1], _> = serde_saphyr::from_str(&yaml);
            assert!(read.is_ok(), "{yaml:?}: {read:?}");
        }
    }
}
