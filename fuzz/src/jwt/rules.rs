//! A second implementation of the rules for headers and claims, on a tree of the JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, SystemTime},
};

use headcount::authentication::token::{Subject, Verified};
use serde_json::value::RawValue;

use super::super::rules::{is_dns_1123_label, is_dns_1123_subdomain};

/// What an accepted token says.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    id: String,
    expires: u64,
    name: String,
    mesh: String,
    namespace: String,
    workload: String,
    tags: BTreeMap<String, BTreeSet<String>>,
    groups: Option<Vec<String>>,
}

impl Expected {
    pub fn of(verified: &Verified) -> Self {
        let text = |name: Option<&dyn fmt::Display>| name.map(ToString::to_string).unwrap_or_default();
        let expires =
            verified.expires.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |it: Duration| it.as_secs());
        let id = verified.id.to_string();
        match &verified.subject {
            Subject::User(user) => Self {
                id,
                expires,
                name: user.name.clone(),
                mesh: String::new(),
                namespace: String::new(),
                workload: String::new(),
                tags: BTreeMap::new(),
                groups: Some(user.groups.clone()),
            },
            Subject::Dataplane(grant) => Self {
                id,
                expires,
                name: text(grant.name.as_ref().map(|it| it as _)),
                mesh: text(grant.mesh.as_ref().map(|it| it as _)),
                namespace: text(grant.namespace.as_ref().map(|it| it as _)),
                workload: text(grant.workload.as_ref().map(|it| it as _)),
                tags: grant.tags.clone(),
                groups: None,
            },
        }
    }
}

/// The members of an object, in the order of the text.
pub struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// None unless the text is an object without duplicate members, at any depth, whose numbers fit into
    /// a double and whose strings are Unicode.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        let raw: &RawValue = serde_json::from_slice(json).ok()?;
        members(raw).filter(|_| unique(raw, 1))
    }

    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// The text of a member; empty if it is absent, none if it is of another type.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map_or(Some(String::new()), |value| serde_json::from_str(value.get()).ok())
    }

    /// The whole number of a member. The outer none means another type.
    #[expect(clippy::option_option, reason = "of the wrong type, absent, present")]
    pub fn number(&self, name: &str) -> Option<Option<u64>> {
        self.get(name).map_or(Some(None), |value| value.get().parse().ok().map(Some))
    }
}

fn members(raw: &RawValue) -> Option<Members<'_>> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut json = serde_json::Deserializer::from_str(raw.get());
    serde::Deserializer::deserialize_map(&mut json, Visitor).ok().map(Members)
}

/// The most objects and lists within one another that `serde_json` reads.
const DEEPEST: usize = 127;

fn unique(raw: &RawValue, depth: usize) -> bool {
    let is_unique = |value: &RawValue| unique(value, depth + 1);
    if let Some(Members(all)) = members(raw) {
        let names: BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
        return depth <= DEEPEST && names.len() == all.len() && all.iter().all(|(_, value)| is_unique(value));
    }
    match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        Ok(all) => depth <= DEEPEST && all.into_iter().all(is_unique),
        Err(_) if raw.get().starts_with('"') => serde_json::from_str::<String>(raw.get()).is_ok(),
        // Not a number: a literal.
        Err(_) => raw.get().parse().map_or(true, f64::is_finite),
    }
}

/// What a signed token with this header and these claims says; none if it is not to be accepted.
pub fn accepts(header: &[u8], claims: &[u8], now: u64) -> Option<Expected> {
    let key = header_key(header, "EdDSA")?;
    let claims = Members::parse(claims)?;
    let text = |name| claims.text(name);
    let tags = match claims.get("Tags").map(RawValue::get) {
        None | Some("null") => BTreeMap::new(),
        Some(tags) => serde_json::from_str(tags).ok()?,
    };
    let groups = match claims.get("Groups").map(RawValue::get) {
        None => None,
        Some("null") => Some(Vec::new()),
        Some(groups) => Some(serde_json::from_str::<Vec<String>>(groups).ok()?),
    };
    let (not_before, _issued) = (claims.number("nbf")?.unwrap_or(0), claims.number("iat")?);
    let expected = Expected {
        id: text("jti")?,
        expires: claims.number("exp")??,
        name: text("Name")?,
        mesh: text("Mesh")?,
        namespace: text("Namespace")?,
        workload: text("Workload")?,
        tags,
        groups,
    };
    let of_dataplane =
        ["Mesh", "Tags", "Type", "Workload", "Namespace"].map(|name| claims.get(name).is_some());
    let of_dataplane = of_dataplane.contains(&true);
    let for_key = match (&expected.groups, &*key) {
        (Some(_) | None, "1") => true,
        (None, "2") => expected.mesh == "default",
        _ => false,
    };
    let is_user = |name: &String| {
        (1..=253).contains(&name.len()) && name.trim() == name && !name.contains(char::is_control)
    };
    let optional = |text: &str, rule: fn(&str) -> bool| text.is_empty() || rule(text);
    let names = match &expected.groups {
        Some(groups) => groups.iter().chain([&expected.name]).all(is_user),
        None => {
            optional(&expected.name, is_dns_1123_subdomain)
                && optional(&expected.mesh, is_dns_1123_label)
                && optional(&expected.namespace, is_dns_1123_label)
                && optional(&expected.workload, is_dns_1123_subdomain)
                && matches!(&*text("Type")?, "" | "dataplane")
        }
    };
    let id = (1..=128).contains(&expected.id.len())
        && expected.id.bytes().all(|c| (b'!'..=b'~').contains(&c))
        && expected.id != "revoked";
    let valid = of_dataplane != expected.groups.is_some()
        && claims.get("aud").is_none()
        && for_key
        && names
        && id
        && now < expected.expires
        && expected.expires < 253_402_300_800
        && not_before <= now;
    valid.then_some(expected)
}

/// The key that an acceptable header of this algorithm names.
pub fn header_key(header: &[u8], algorithm: &str) -> Option<String> {
    let header = Members::parse(header)?;
    let rejected = ["crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"];
    if rejected.iter().any(|name| header.get(name).is_some()) {
        return None;
    }
    let typ = header.text("typ")?;
    let is_jwt = header.get("typ").is_none() || typ.eq_ignore_ascii_case("JWT");
    (is_jwt && header.text("alg")? == algorithm).then(|| header.text("kid"))?
}
