//! A second implementation of label selectors, structured like that of Kubernetes: a lexer, then a
//! parser.

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

/// Parses a selector; none if it is not one. Values are not validated.
pub fn parse(text: &str) -> Option<Vec<Requirement>> {
    let tokens = tokens(text);
    if tokens.is_empty() {
        return Some(Vec::new());
    }
    let mut rest = &tokens[..];
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

/// Splits a text into operators, and the words between operators and white space.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for part in text.split_whitespace() {
        let mut rest = part;
        while !rest.is_empty() {
            let operators = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"];
            let operator = operators.iter().find(|operator| rest.starts_with(**operator));
            let end = operator
                .map_or_else(|| rest.find(is_operator).unwrap_or(rest.len()), |operator| operator.len());
            let (token, after) = rest.split_at(end);
            tokens.push(token);
            rest = after;
        }
    }
    tokens
}

fn is_operator(c: char) -> bool {
    "=!(),<>".contains(c)
}

fn take<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

/// Takes a word; an empty one if an operator or the end is next.
fn take_word(rest: &mut &[&str]) -> String {
    match rest.first() {
        Some(word) if !word.starts_with(is_operator) => take(rest).unwrap_or_default().to_owned(),
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
