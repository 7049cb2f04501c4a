//! JSON of which there is only one reading.

use std::{collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// Decodes a JSON object in which no object, at any depth, has two members of one name. Parsers
/// disagree on which of the two counts, so what one of them checked another would not use.
///
/// # Errors
///
/// If the text is not such a JSON object, or not of this type.
pub(super) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Unique>(json)?;
    serde_json::from_slice(json).map(|Object(value)| value)
}

/// A value that is a JSON object. A derived `Deserialize` alone would also accept a list of the values of
/// the members.
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Deserializes a member that is present; `null` is a value of `T` or an error. With
/// `#[serde(default)]`, none is an absent member.
///
/// # Errors
///
/// If the member is of another type.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Like [`present`], for maps and lists: Go writes an empty one as `null`.
///
/// # Errors
///
/// If the member is of another type.
pub(super) fn present_or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<T>::deserialize(deserializer).map(|value| Some(value.unwrap_or_default()))
}

/// Any value without duplicate members.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate member"));
            }
            map.next_value::<Unique>()?;
        }
        Ok(Unique)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
        while seq.next_element::<Unique>()?.is_some() {}
        Ok(Unique)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(Unique)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Two {
        a: u8,
        b: Option<Object<u8>>,
    }

    #[test]
    fn an_object_has_each_member_once_at_any_depth() {
        for good in [r#"{"a":1,"b":[{"a":-1},{"a":1.5}],"c":{"a":null,"A":true}}"#, "{}"] {
            assert!(decode::<Value>(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"c":[{"b":{"a":1,"\u0061":2}}]}"#,
            "[]",
            "\"text\"",
            "{}{}",
            "{\"a\":1,}",
            "",
            "\u{feff}{}",
        ] {
            assert!(decode::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
        let two = decode::<Two>(br#"{"b":null,"a":1}"#).unwrap();
        assert_eq!((two.a, two.b.is_none()), (1, true));
        assert!(decode::<Two>(b"[1,null]").is_err(), "a list of the members' values");
        let deep = "{\"a\":[".repeat(100_000);
        assert!(decode::<Value>(deep.as_bytes()).is_err());
    }
}
