//! Reads a document and collects everything that is wrong with it.

use std::time::Duration;

use super::{duration::parse as parse_duration, keys::Keys, yaml::YamlMap};
use crate::model::{
    DEFAULT_MESH, DEFAULT_NAMESPACE, Invalid, Labels, MESH_LABEL, MeshName, Namespace, Quoted, ResourceKey,
    ResourceName,
};

/// The version of Kuma's resources.
const API_VERSION: &str = "kuma.io/v1alpha1";
/// The most labels of a resource, and of a selector.
const MAX_LABELS: usize = 64;

/// All that is wrong with a document, in the order of its fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Violations(pub Vec<Invalid>);

/// The head of a resource.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) mesh: MeshName,
    pub(crate) key: ResourceKey,
    pub(crate) labels: Labels,
}

/// Collects violations while a document is read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) violations: Vec<Invalid>,
    pub(crate) warnings: Vec<String>,
}

impl Reader {
    pub(crate) fn violate(&mut self, violation: Invalid) {
        self.violations.push(violation);
    }

    /// The value, or none after its violation was collected.
    pub(crate) fn check<T>(&mut self, result: Result<T, Invalid>) -> Option<T> {
        result.map_err(|violation| self.violate(violation)).ok()
    }

    /// A map; none if it is absent or no map.
    pub(crate) fn map<'a>(&mut self, parent: &YamlMap<'a>, key: &str, known: &Keys) -> Option<YamlMap<'a>> {
        let map = self.check(parent.map(key)).flatten()?;
        map.warn_unknown(known, &mut self.warnings);
        Some(map)
    }

    pub(crate) fn text<'a>(&mut self, map: &YamlMap<'a>, key: &str) -> Option<&'a str> {
        self.check(map.text(key)).flatten()
    }

    pub(crate) fn labels(&mut self, map: &YamlMap<'_>, key: &str) -> Labels {
        let texts = self.check(map.texts(key)).unwrap_or_default();
        self.check(Labels::parse(&map.path(key), &texts, MAX_LABELS)).unwrap_or_default()
    }

    /// What a resource states outside of its content; none after a violation.
    pub(crate) fn head(&mut self, root: &YamlMap<'_>, kind: &str) -> Option<Head> {
        let is_kubernetes = ["apiVersion", "kind", "metadata"].into_iter().any(|key| root.has(key));
        let (metadata, mesh) = if is_kubernetes {
            root.warn_unknown(&["apiVersion", "kind", "metadata", "spec", "status"], &mut self.warnings);
            self.constant(root, "apiVersion", API_VERSION);
            self.constant(root, "kind", kind);
            let metadata = self.check(root.map("metadata")).flatten().unwrap_or_else(|| {
                self.violate(Invalid::new("metadata", "is required"));
                root.clone()
            });
            (metadata, None)
        } else {
            let known: &Keys = &[
                "type",
                "mesh",
                "namespace",
                "name",
                "labels",
                "creationTime",
                "modificationTime",
                "kri",
                "spec",
                "status",
            ];
            root.warn_unknown(known, &mut self.warnings);
            self.constant(root, "type", kind);
            (root.clone(), self.text(root, "mesh").map(|mesh| (root.path("mesh"), mesh)))
        };
        let labels = self.labels(&metadata, "labels");
        let mesh = mesh.or_else(|| Some((metadata.path("labels"), labels.get(MESH_LABEL)?)));
        let (field, mesh) = mesh.unwrap_or_else(|| ("mesh".to_owned(), DEFAULT_MESH));
        let mesh = self.check(MeshName::parse(&field, mesh));
        let name = self.text(&metadata, "name").unwrap_or_default();
        let name = self.check(ResourceName::parse(&metadata.path("name"), name));
        // Universal has no namespaces in Kuma; it is what `headcount get` prints.
        let namespace = self.text(&metadata, "namespace").unwrap_or(DEFAULT_NAMESPACE);
        let namespace = self.check(Namespace::parse(&metadata.path("namespace"), namespace));
        Some(Head { mesh: mesh?, key: ResourceKey { namespace: namespace?, name: name? }, labels })
    }

    /// Checks that a key has this value.
    pub(crate) fn constant(&mut self, map: &YamlMap<'_>, key: &str, expected: &str) {
        match self.text(map, key) {
            Some(text) if text == expected => {}
            Some(text) => {
                self.violate(Invalid::new(map.path(key), format!("{}: must be {expected}", Quoted(text))));
            }
            None => self.violate(Invalid::new(map.path(key), format!("is required: write {expected}"))),
        }
    }

    /// One of several texts, with the messages of Kuma's schema.
    pub(crate) fn one_of(
        &mut self,
        map: &YamlMap<'_>,
        key: &str,
        texts: &[&'static str],
    ) -> Option<&'static str> {
        let text = self.check(map.text(key))?;
        let found = text.and_then(|text| texts.iter().find(|known| **known == text));
        if found.is_none() {
            let problem = match text {
                Some(_) => format!("in body should be one of [{}]", texts.join(" ")),
                None => "in body is required".to_owned(),
            };
            self.violate(Invalid::new(map.path(key), problem));
        }
        found.copied()
    }

    pub(crate) fn duration(&mut self, map: &YamlMap<'_>, key: &str) -> Option<Duration> {
        let text = self.text(map, key)?;
        let invalid = |problem: String| Invalid::new(map.path(key), problem);
        self.check(match text.strip_prefix('-').map(parse_duration) {
            Some(Ok(duration)) if !duration.is_zero() => {
                Err(invalid("must not be negative when defined".to_owned()))
            }
            _ => parse_duration(text).map_err(invalid),
        })
    }
}
