//! The files of the downward API: a Pod's labels and annotations.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::agent::limited_file::read_limited;

/// A Pod's annotations have at most 256 KiB. Escaped, each of their bytes takes
/// four at most.
const MAX_BYTES: u64 = 1024 * 1024;

/// What the downward API says of a Pod. A part whose file is not there is none:
/// the manifest did not ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodInfo {
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Its annotations.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Why a file of the downward API is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PodInfoError {
    /// It can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No Pod has so much to say.
    #[error("{} has more than {MAX_BYTES} bytes: mount the downward API's volume there", .0.display())]
    TooLarge(PathBuf),
    /// It is something else.
    #[error("{}: line {line}: must be key=\"value\", as the downward API writes it: mount its volume there", path.display())]
    Syntax {
        /// Where it is.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

impl PodInfo {
    /// Reads the files `labels` and `annotations` of a directory.
    pub fn read(directory: &Path) -> Result<Self, PodInfoError> {
        Ok(Self {
            labels: read(&directory.join("labels"))?,
            annotations: read(&directory.join("annotations"))?,
        })
    }
}

fn read(path: &Path) -> Result<Option<BTreeMap<String, String>>, PodInfoError> {
    let text = match read_limited(path, MAX_BYTES) {
        Ok(text) => text.ok_or_else(|| PodInfoError::TooLarge(path.to_owned()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PodInfoError::Unreadable { path: path.to_owned(), source }),
    };
    parse(&text).map(Some).map_err(|line| PodInfoError::Syntax { path: path.to_owned(), line })
}

/// Reads lines of `key="value"`, where Go has quoted the value. An error is the
/// number of a line.
fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    (1_usize..)
        .zip(text.lines())
        .map(|(number, line)| {
            let (key, quoted) = line.split_once('=').ok_or(number)?;
            Ok((key.to_owned(), unquote(quoted).ok_or(number)?))
        })
        .collect()
}

/// Takes back what Go's `%q` does. It writes bytes that are no UTF-8 as `\xff`;
/// the API server lets none of them through, so they may come out as U+FFFD.
fn unquote(quoted: &str) -> Option<String> {
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = rest.find(['\\', '"']) {
        text.push_str(&rest[..at]);
        let escape = rest[at..].strip_prefix('\\')?;
        let kind = escape.chars().next()?;
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let (code, after) = escape[kind.len_utf8()..].split_at_checked(digits)?;
        text.push(match kind {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' | '"' => kind,
            'x' => char::from_u32(u32::from_str_radix(code, 16).ok()?)
                .map(|c| if c.is_ascii() { c } else { char::REPLACEMENT_CHARACTER })?,
            'u' | 'U' => char::from_u32(u32::from_str_radix(code, 16).ok()?)?,
            _ => return None,
        });
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn lines_of_the_downward_api_are_read() {
        let text =
            "app=\"web\"\nkuma.io/workload=\"demo-workload\"\nnote=\"a \\\"b\\\" = c\\nd\\\\\"\nempty=\"\"";
        let map = parse(text).unwrap();
        assert_eq!(map["app"], "web");
        assert_eq!(map["kuma.io/workload"], "demo-workload");
        assert_eq!(map["note"], "a \"b\" = c\nd\\");
        assert_eq!(map["empty"], "");
        assert_eq!(map.len(), 4);
        assert!(parse("").unwrap().is_empty(), "a Pod without annotations has an empty file");
        assert_eq!(parse("a=\"b\"\n").unwrap().len(), 1, "the last line may end");
    }

    #[test]
    fn every_escape_of_go_is_taken_back() {
        for (quoted, expected) in [
            (r#""\a\b\f\n\r\t\v""#, "\x07\x08\x0c\n\r\t\x0b"),
            (r#""\x00\x7f""#, "\0\x7f"),
            (r#""\u00ad\ufeff""#, "\u{ad}\u{feff}"),
            (r#""\U000e0001""#, "\u{e0001}"),
            (r#""\xff""#, "\u{fffd}"),
            ("\"wörld 🦀\"", "wörld 🦀"),
        ] {
            assert_eq!(unquote(quoted).as_deref(), Some(expected), "{quoted}");
        }
    }

    #[test]
    fn what_the_downward_api_does_not_write_is_refused_by_its_line() {
        for line in [
            "app",
            "app=web",
            "app=\"web",
            "app=web\"",
            "app=\"",
            "app=\"a\"b\"",
            r#"app="\""#,
            r#"app="\q""#,
            r#"app="\u12""#,
            r#"app="\ud800""#,
            r#"app="\x1é""#,
            "",
        ] {
            assert_eq!(parse(&format!("a=\"b\"\n{line}\nc=\"d\"")), Err(2), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_strange(text in "([a-z=\"\\\\xuU0-9é]|\\n){0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[ -~\\n\\t]{0,40}") {
            // Rust's own quoting is Go's for these.
            proptest::prop_assert_eq!(unquote(&format!("{value:?}")), Some(value));
        }
    }

    #[test]
    fn a_part_that_is_not_there_is_none_and_one_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(PodInfo::read(directory.path()).unwrap(), PodInfo::default());
        assert_eq!(PodInfo::read(&directory.path().join("none")).unwrap(), PodInfo::default());

        let labels = directory.path().join("labels");
        fs::write(&labels, "app=\"web\"").unwrap();
        let info = PodInfo::read(directory.path()).unwrap();
        assert_eq!(info.labels.unwrap()["app"], "web");
        assert_eq!(info.annotations, None);

        fs::write(&labels, "<html>").unwrap();
        let error = PodInfo::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("labels: line 1: must be key=\"value\""), "{error}");
        fs::write(&labels, " ".repeat(1024 * 1024 + 1)).unwrap();
        assert!(matches!(PodInfo::read(directory.path()), Err(PodInfoError::TooLarge(_))));
        fs::create_dir(directory.path().join("annotations")).unwrap();
        fs::remove_file(&labels).unwrap();
        assert!(matches!(PodInfo::read(directory.path()), Err(PodInfoError::Unreadable { .. })));
    }
}
