//! Whether the registrations of an earlier process fit the limits of this one.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use super::footprint;
use crate::{
    model::{MeshName, Records},
    registry::RegistrySettings,
};

/// More is stored than the settings allow. Restoring a part would delete the rest from the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored registrations exceed the limits of this server: {}; raise the limit, or use another --data-dir to \
     begin without them. Nothing has been deleted",
    texts(.0)
)]
pub struct LimitsExceeded(Vec<Exceeded>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exceeded {
    stored: usize,
    what: String,
    setting: &'static str,
    limit: usize,
}

impl Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, what, setting, limit } = self;
        write!(f, "{stored} {what}, --{setting} is {limit}")
    }
}

fn texts(exceeded: &[Exceeded]) -> String {
    exceeded.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Checks that all registrations fit the limits of [`RegistrySettings`].
///
/// # Errors
///
/// Each limit that they exceed; of the limit per mesh, only the largest mesh.
pub(crate) fn check_stored(settings: &RegistrySettings, records: &Records) -> Result<(), LimitsExceeded> {
    let mut by_mesh: BTreeMap<&MeshName, usize> = BTreeMap::new();
    for record in &records.registrations {
        *by_mesh.entry(&record.dataplane.key.mesh).or_default() += footprint(&record.dataplane);
    }
    let (dataplanes, bytes) = (records.registrations.len(), by_mesh.values().sum());
    let largest = by_mesh.iter().max_by_key(|(_, bytes)| **bytes);
    let of_mesh = largest.map(|(mesh, bytes)| {
        let what = format!("bytes of memory for mesh {mesh}");
        (*bytes, what, "max-registered-bytes-per-mesh", settings.max_registered_bytes_per_mesh)
    });
    let limits = [
        (dataplanes, "dataplanes".to_owned(), "max-dataplanes", settings.max_dataplanes),
        (bytes, "bytes of memory".to_owned(), "max-registered-bytes", settings.max_registered_bytes),
    ];
    let exceeded: Vec<_> = limits
        .into_iter()
        .chain(of_mesh)
        .filter(|(stored, .., limit)| stored > limit)
        .map(|(stored, what, setting, limit)| Exceeded { stored, what, setting, limit })
        .collect();
    if exceeded.is_empty() { Ok(()) } else { Err(LimitsExceeded(exceeded)) }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        model::{Dataplane, RegistrationRecord},
        registry::tests::{dataplane, dataplane_in},
    };

    fn of(dataplanes: impl IntoIterator<Item = Dataplane>) -> Records {
        let record = |dataplane: Dataplane| RegistrationRecord {
            dataplane: dataplane.into(),
            since: SystemTime::UNIX_EPOCH,
            retained_until: None,
        };
        Records { registrations: dataplanes.into_iter().map(record).collect(), workloads: Vec::new() }
    }

    #[test]
    fn each_limit_is_checked_and_a_limit_that_is_only_reached_is_not_exceeded() {
        let records = of([dataplane("a", "web"), dataplane("b", "web"), dataplane_in("other", "c", "web")]);
        let bytes = |mesh: &str| {
            let dataplanes = records.registrations.iter().map(|record| &record.dataplane);
            dataplanes.filter(|dataplane| dataplane.key.mesh.as_str() == mesh).map(|it| footprint(it)).sum()
        };
        let (default, other): (usize, usize) = (bytes("default"), bytes("other"));
        let fitting = RegistrySettings {
            max_dataplanes: 3,
            max_registered_bytes: default + other,
            max_registered_bytes_per_mesh: default,
            ..RegistrySettings::default()
        };
        assert_eq!(check_stored(&fitting, &records), Ok(()));
        let low = RegistrySettings {
            max_dataplanes: 2,
            max_registered_bytes: default + other - 1,
            max_registered_bytes_per_mesh: default - 1,
            ..fitting
        };
        let text = check_stored(&low, &records).unwrap_err().to_string();
        for part in [
            "3 dataplanes, --max-dataplanes is 2".to_owned(),
            format!("{} bytes of memory, --max-registered-bytes is {}", default + other, default + other - 1),
            format!(
                "{default} bytes of memory for mesh default, --max-registered-bytes-per-mesh is {}",
                default - 1
            ),
        ] {
            assert!(text.contains(&part), "{part} is not in: {text}");
        }
    }
}
