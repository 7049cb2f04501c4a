//! Flags that take no value on the command line, and a boolean in a variable or in the file.

use std::str::FromStr;

/// A boolean as people write it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Switch(pub(in crate::cli) bool);

impl FromStr for Switch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Self(true)),
            "false" | "no" | "off" | "0" => Ok(Self(false)),
            _ => Err("must be true or false (or yes, no, on, off, 1, 0)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_accepted_as_people_write_them() {
        for (text, value) in [
            ("true", true),
            ("TRUE", true),
            ("yes", true),
            ("On", true),
            ("1", true),
            ("false", false),
            ("No", false),
            ("OFF", false),
            ("0", false),
        ] {
            assert_eq!(text.parse(), Ok(Switch(value)), "{text}");
        }
        for invalid in ["", " ", "2", "enabled", "y", "truee"] {
            assert!(invalid.parse::<Switch>().unwrap_err().contains("true or false"), "{invalid}");
        }
    }
}
