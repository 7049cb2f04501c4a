//! Compares an output with the one that a document shows.

use serde_json::Value;

/// Keys of JSON whose values differ each time.
const VARIABLE_KEYS: [&str; 6] =
    ["sessionId", "uid", "creationTime", "lastTransitionTime", "revision", "resumeToken"];

/// Compares texts word by word, because documents wrap lines. Ages may differ, and the words in `variable`.
/// JSON may have further messages after those that the document shows.
///
/// # Errors
///
/// A description of the first difference.
pub(super) fn compare(expected: &str, actual: &str, variable: &[&str]) -> Result<(), String> {
    if expected.starts_with('{') {
        return compare_messages(messages(expected), &messages(actual));
    }
    let (mut expected, mut actual) = (expected.split_whitespace(), actual.split_whitespace());
    loop {
        match (expected.next(), actual.next()) {
            (None, None) => return Ok(()),
            (Some(one), Some(other))
                if one == other || variable.contains(&one) || (is_age(one) && is_age(other)) => {}
            (one, other) => return Err(format!("{one:?} in the document, {other:?} in the output")),
        }
    }
}

fn is_age(word: &str) -> bool {
    word.ends_with(['s', 'm', 'h', 'd']) && word.starts_with(|c: char| c.is_ascii_digit())
}

fn messages(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map_while(Result::ok).collect()
}

fn compare_messages(expected: Vec<Value>, actual: &[Value]) -> Result<(), String> {
    assert!(!expected.is_empty(), "the document's JSON is valid");
    for (index, mut expected) in expected.into_iter().enumerate() {
        let mut actual = actual.get(index).cloned().unwrap_or_default();
        mask(&mut expected);
        mask(&mut actual);
        if expected != actual {
            return Err(format!("{expected:#} in the document, {actual:#} in the output"));
        }
    }
    Ok(())
}

/// Replaces variable values by their type.
fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if VARIABLE_KEYS.contains(&key.as_str()) {
                    *value = Value::from(value.is_string());
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

#[test]
fn only_variable_parts_may_differ() {
    assert_eq!(compare("NAME AGE\nweb  12s\n", "NAME   AGE\nweb    3m5s\n", &[]), Ok(()));
    assert_eq!(compare("a\nb 4", "a b 17", &["4"]), Ok(()));
    for (other, variable) in [("a b 17", ""), ("a b", "4"), ("a b 4 c", ""), ("a x 4", "")] {
        assert!(compare("a b 4", other, &[variable]).is_err(), "{other}");
    }
    let message = "{\"uid\": \"x\", \"counts\": [1]}";
    assert_eq!(compare(message, "{\"uid\": \"y\", \"counts\": [1]} {\"more\": 1}", &[]), Ok(()));
    for other in
        ["", "{\"uid\": \"x\", \"counts\": [2]}", "{\"counts\": [1]}", "{\"uid\": 1, \"counts\": [1]}"]
    {
        assert!(compare(message, other, &[]).is_err(), "{other}");
    }
}
