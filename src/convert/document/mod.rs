//! Resources of Kuma as YAML or JSON documents: typed access to their maps.

mod duration;
mod keys;
mod reader;
mod yaml;

pub use self::reader::Violations;
pub(crate) use self::{
    duration::parse as parse_duration,
    keys::Keys,
    reader::{Head, Reader},
    yaml::YamlMap,
};
