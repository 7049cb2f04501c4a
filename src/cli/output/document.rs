//! Resources as JSON and YAML.

use serde::Serialize;
use serde_json::{Serializer, ser::PrettyFormatter};

use super::{ChangeType, Format};
use crate::cli::terminal::{visible, visible_json};

/// What kubectl prints where no name was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<T> {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<T>,
}

impl<T> List<T> {
    /// A list of resources.
    pub(super) fn new(items: Vec<T>) -> Self {
        Self { api_version: "v1", kind: "List", items }
    }
}

/// A change as kubectl prints it with `--output-watch-events`.
#[derive(Serialize)]
struct WatchEvent<'a, T> {
    r#type: ChangeType,
    object: &'a T,
}

/// The text of a whole document: YAML if asked for, else JSON indented as
/// kubectl does.
pub(crate) fn document(format: Format, resource: &impl Serialize) -> String {
    if format == Format::Yaml { yaml(resource) } else { json(resource) }
}

/// The text of one change: a line of JSON, or a document of YAML.
pub(super) fn watch_event(format: Format, r#type: ChangeType, object: &impl Serialize) -> String {
    let event = WatchEvent { r#type, object };
    if format == Format::Yaml {
        return format!("---\n{}", yaml(&event));
    }
    let json = serde_json::to_string(&event).expect(PRINTABLE);
    visible_json(&json).into_owned() + "\n"
}

/// Our resources have texts for keys and no numbers but integers.
const PRINTABLE: &str = "a resource can be written in any format";

fn json(resource: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    resource.serialize(&mut serializer).expect(PRINTABLE);
    visible_json(&String::from_utf8_lossy(&text)).into_owned() + "\n"
}

fn yaml(resource: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(resource, options).expect(PRINTABLE);
    // The serializer has escaped all controls; what may be left are marks that
    // reorder text.
    text.lines().flat_map(|line| [visible(line), "\n".into()]).collect()
}
