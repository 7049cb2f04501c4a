//! The output of a command, and the escaping of untrusted text.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{self, Write},
};

/// Where a command writes.
pub struct Terminal<'a> {
    /// Results, usually standard output.
    pub out: &'a mut dyn Write,
    /// Remarks for a person, usually standard error.
    pub err: &'a mut dyn Write,
}

impl Terminal<'_> {
    /// Writes a result and flushes it.
    ///
    /// # Errors
    ///
    /// If it can't be written, for example because the reader has closed the pipe.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes a line for a person. A remark that can't be written is lost, because the command's
    /// result and its exit code do not depend on it.
    pub fn remark(&mut self, remark: impl Display) {
        let _lost = writeln!(self.err, "{remark}");
    }
}

/// Escapes text that others control, so that it cannot send control sequences to the terminal:
/// control characters become `\n` or `\u{1b}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |c, escaped| escaped.extend(c.escape_default()))
}

/// Like [`visible`] for a JSON text, whose meaning does not change. Newlines stay, because in
/// JSON they only occur between tokens.
pub(super) fn visible_json(json: &str) -> Cow<'_, str> {
    escape(json, |c, escaped| match c {
        '\n' => escaped.push('\n'),
        // All of them are in the basic multilingual plane: one escape is enough.
        c => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
    })
}

fn escape(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            replace(c, &mut escaped);
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), line separators and bidirectional marks.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("plain, ünïcode 世界"), "plain, ünïcode 世界");
        assert_eq!(visible("\u{1b}[31mred\r\n"), r"\u{1b}[31mred\r\n");
        assert_eq!(visible("\u{9b}\u{7f}\u{202e}"), r"\u{9b}\u{7f}\u{202e}");
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let text = "a\u{9b}\u{7f}\u{202e}\u{2028}\u{1b}\nb";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = visible_json(&json);
        assert!(!escaped.contains(|c: char| c != '\n' && is_unsafe(c)), "{escaped}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap(), [text]);
    }
}
