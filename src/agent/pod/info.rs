//! Reads a Pod's labels and annotations from the files of the downward API.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::runtime::limited_file::read_limited;

/// Largest file that is read. A Pod's annotations have at most 256 KiB, and the escape of a byte has at
/// most four characters.
const MAX_BYTES: u64 = 1024 * 1024;

/// A Pod's metadata from the downward API. A field is none if its file does not exist, because the
/// manifest does not mount it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodInfo {
    /// Labels of the Pod.
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations of the Pod.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Why a file of the downward API was rejected.
#[derive(Debug, thiserror::Error)]
pub enum PodInfoError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is larger than 1 MiB.
    #[error("{} has more than {MAX_BYTES} bytes: mount the downward API's volume there", .0.display())]
    TooLarge(PathBuf),
    /// A line is not in the format of the downward API.
    #[error("{}: line {line}: must be key=\"value\", as the downward API writes it: mount its volume there", path.display())]
    Syntax {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

impl PodInfo {
    /// Reads the files `labels` and `annotations` in a directory. Either may be missing.
    ///
    /// # Errors
    ///
    /// If a file can't be read, is larger than 1 MiB, or is not in the format of the downward API.
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

/// Parses lines of `key="value"` whose value is quoted by Go's `%q`. The error is the number of the first
/// invalid line.
fn parse(text: &str) -> Result<BTreeMap<String, String>, usize> {
    (1_usize..)
        .zip(text.lines())
        .map(|(number, line)| {
            let (key, quoted) = line.split_once('=').ok_or(number)?;
            Ok((key.to_owned(), unquote(quoted).ok_or(number)?))
        })
        .collect()
}

/// Reverses Go's `%q`, which writes bytes that are not UTF-8 as `\xff`. The API server accepts only UTF-8,
/// so it is enough to return U+FFFD for them.
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
    fn lines_of_the_downward_api_are_parsed() {
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
    fn every_escape_of_go_is_reversed() {
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
    fn an_invalid_line_is_rejected_with_its_number() {
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
        fn no_text_panics(text in "([a-z=\"\\\\xuU0-9é]|\\n){0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn unquote_reverses_quoting(value in "[ -~\\n\\t]{0,40}") {
            // For these characters Rust's quoting is equal to Go's.
            proptest::prop_assert_eq!(unquote(&format!("{value:?}")), Some(value));
        }
    }

    #[test]
    fn a_missing_file_is_none_and_an_unreadable_file_is_an_error() {
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
