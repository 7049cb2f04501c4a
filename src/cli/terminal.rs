//! Where a command writes to, and what may be written there.

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
    io::{self, Write},
};

/// Standard output for answers and standard error for remarks.
pub struct Terminal<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What a person should know besides.
    pub err: &'a mut dyn Write,
}

impl Terminal<'_> {
    /// Writes text that is whole: a reader sees all of it now.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes a line to standard error.
    pub fn remark(&mut self, remark: impl Display) -> io::Result<()> {
        writeln!(self.err, "{remark}")
    }
}

/// Shows text of a stranger such that it cannot steer the terminal: controls
/// become `\n`, `\u{1b}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, |c, shown| shown.extend(c.escape_default()))
}

/// As [`visible`], within a text that is JSON: it means the same as before.
/// Newlines stay, as JSON has them between its words only.
pub(super) fn visible_json(json: &str) -> Cow<'_, str> {
    escape(json, |c, shown| match c {
        '\n' => shown.push('\n'),
        // All that is hidden is in the basic plane: one escape is enough.
        c => drop(write!(shown, "\\u{:04x}", u32::from(c))),
    })
}

fn escape(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            replace(c, &mut shown);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Controls (C0, DEL, C1), line separators, and marks that reorder what is
/// around them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_steer_the_terminal() {
        assert_eq!(visible("plain, ünïcode 世界"), "plain, ünïcode 世界");
        assert_eq!(visible("\u{1b}[31mred\r\n"), r"\u{1b}[31mred\r\n");
        assert_eq!(visible("\u{9b}\u{7f}\u{202e}"), r"\u{9b}\u{7f}\u{202e}");
    }

    #[test]
    fn json_still_means_the_same() {
        let text = "a\u{9b}\u{7f}\u{202e}\u{2028}\u{1b}\nb";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let shown = visible_json(&json);
        assert!(!shown.contains(|c: char| c != '\n' && is_hidden(c)), "{shown}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&shown).unwrap(), [text]);
    }
}
