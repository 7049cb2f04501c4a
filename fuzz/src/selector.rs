//! A second reading of label selectors, built as Kubernetes builds its own:
//! signs and words first, then what they mean.

/// A requirement on one label.
#[derive(Debug)]
pub struct Requirement {
    pub key: String,
    operator: Operator,
    pub values: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Absent,
}

impl Requirement {
    pub fn holds(&self, label: Option<&str>) -> bool {
        let listed = label.is_some_and(|label| self.values.iter().any(|value| value == label));
        match self.operator {
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::Exists => label.is_some(),
            Operator::Absent => label.is_none(),
        }
    }
}

/// Reads a selector; none if it is no selector. Values are taken as they are.
pub fn read(text: &str) -> Option<Vec<Requirement>> {
    let words = words(text);
    if words.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = &words[..];
    let mut requirements = Vec::new();
    loop {
        requirements.push(requirement(&mut rest)?);
        match take(&mut rest) {
            None => return Some(requirements),
            Some(",") => {}
            Some(_) => return None,
        }
    }
}

/// Signs stand alone; what is between them and white space is a word.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for part in text.split_whitespace() {
        let mut rest = part;
        while !rest.is_empty() {
            let sign = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"].iter().find(|s| rest.starts_with(**s));
            let end = sign.map_or_else(|| rest.find(is_sign).unwrap_or(rest.len()), |sign| sign.len());
            let (word, after) = rest.split_at(end);
            words.push(word);
            rest = after;
        }
    }
    words
}

fn is_sign(c: char) -> bool {
    "=!(),<>".contains(c)
}

fn take<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

/// Takes a word; an empty one where there is a sign, or nothing.
fn take_word(rest: &mut &[&str]) -> String {
    match rest.first() {
        Some(word) if !word.starts_with(is_sign) => take(rest).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn requirement(rest: &mut &[&str]) -> Option<Requirement> {
    if rest.first() == Some(&"!") {
        take(rest);
        let key = take_word(rest);
        return Some(Requirement { key, operator: Operator::Absent, values: Vec::new() });
    }
    let key = take_word(rest);
    let (operator, values) = match rest.first() {
        None | Some(&",") => (Operator::Exists, Vec::new()),
        Some(_) => match take(rest)? {
            "=" | "==" => (Operator::In, vec![take_word(rest)]),
            "!=" => (Operator::NotIn, vec![take_word(rest)]),
            "in" => (Operator::In, set(rest)?),
            "notin" => (Operator::NotIn, set(rest)?),
            _ => return None,
        },
    };
    Some(Requirement { key, operator, values })
}

fn set(rest: &mut &[&str]) -> Option<Vec<String>> {
    if take(rest)? != "(" {
        return None;
    }
    let mut values = Vec::new();
    loop {
        values.push(take_word(rest));
        match take(rest)? {
            "," => {}
            ")" => return Some(values),
            _ => return None,
        }
    }
}
