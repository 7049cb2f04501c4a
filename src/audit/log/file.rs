//! The file of the audit log.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Only the user of the server can read a new file: it names users and groups.
const MODE: u32 = 0o600;
/// Time between two checks whether the file was renamed or deleted, as programs do that rotate logs.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What lines are appended to.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    /// None for standard output.
    path: Option<PathBuf>,
    checked: Instant,
    /// Whether the latest write failed, so that the next one checks the file in any case.
    failed: bool,
    /// Bytes of the present line that are written.
    written: usize,
}

/// The audit log can't be opened. The text names the flag and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("--audit-log: can't open {}: {error}: {}", path.display(), remedy(error))]
pub struct CannotOpen {
    path: PathBuf,
    error: io::Error,
}

impl CannotOpen {
    /// Whether the path is wrong, rather than what the server may do there.
    pub fn is_usage(&self) -> bool {
        matches!(
            self.error.kind(),
            ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::InvalidInput
                | ErrorKind::InvalidFilename
        )
    }
}

impl LogFile {
    /// Opens a file to append to, and creates it if it does not exist; `-` is standard output.
    ///
    /// # Errors
    ///
    /// If the path names no regular file that the server may write.
    pub fn open(path: &Path) -> Result<Self, CannotOpen> {
        let is_file = path != Path::new("-");
        let file = if is_file {
            append_to(path)
        } else {
            // Not the buffer of the standard library: a write that blocks would keep its lock.
            io::stdout().as_fd().try_clone_to_owned().map(File::from)
        };
        let file = file.map_err(|error| CannotOpen { path: path.to_owned(), error })?;
        let path = is_file.then(|| path.to_owned());
        Ok(Self { file, path, checked: Instant::now(), failed: false, written: 0 })
    }

    /// The name in messages.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard output".to_owned(),
        }
    }

    /// Writes a line. If that fails, the next call with the same line continues it, or writes it to
    /// the file that has replaced this one.
    ///
    /// # Errors
    ///
    /// If the disk is full, for example, or a renamed file can't be created again.
    pub(super) fn write(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        let result = self.try_write(line, now);
        self.failed = result.is_err();
        result
    }

    #[cfg(test)]
    pub(super) fn check_next(&mut self) {
        self.failed = true;
    }

    fn try_write(&mut self, line: &[u8], now: Instant) -> io::Result<()> {
        self.reopen_if_replaced(now)?;
        while self.written < line.len() {
            match self.file.write(&line[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        Ok(())
    }

    fn reopen_if_replaced(&mut self, now: Instant) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if !self.failed && now.saturating_duration_since(self.checked) < CHECK_INTERVAL {
            return Ok(());
        }
        let open = self.file.metadata()?;
        let named = match fs::metadata(path) {
            Ok(named) => Some(named),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if named.is_none_or(|named| !is_same(&named, &open)) {
            self.file = append_to(path)?;
            self.written = 0;
        } else if open.len() < self.written as u64 {
            // It was emptied, and with it the beginning of the line.
            self.written = 0;
        }
        self.checked = now;
        Ok(())
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn append_to(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its reader.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    if ends_within_a_line(path) {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether a file ends with the part of a line that a process was writing when the machine failed. A
/// file that may not be read counts as complete.
fn ends_within_a_line(path: &Path) -> bool {
    let last_byte = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last).map(|()| last)
    };
    last_byte().is_ok_and(|last: [u8; 1]| last != *b"\n")
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "create its directory, or name another file",
        ErrorKind::PermissionDenied => {
            "let the user of the server write the file and its directory, or name another file"
        }
        _ => "name a file that the server can append to, or - for standard output",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Log {
        directory: tempfile::TempDir,
        file: LogFile,
        now: Instant,
    }

    impl Log {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = LogFile::open(&directory.path().join("audit.log")).unwrap();
            Self { directory, file, now: Instant::now() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap()
        }

        fn write(&mut self, line: &str) -> io::Result<()> {
            self.file.write(line.as_bytes(), self.now)
        }
    }

    #[test]
    fn only_the_user_of_the_server_can_read_a_new_file() {
        let log = Log::new();
        let mode = fs::metadata(log.path("audit.log")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn lines_are_appended_to_an_existing_file_after_the_part_of_a_line() {
        for (before, after) in [("a\n", "a\nnew\n"), ("a\nb", "a\nb\nnew\n"), ("", "new\n")] {
            let mut log = Log::new();
            fs::write(log.path("audit.log"), before).unwrap();
            log.file = LogFile::open(&log.path("audit.log")).unwrap();
            log.write("new\n").unwrap();
            assert_eq!(log.read("audit.log"), after);
        }
    }

    #[test]
    fn a_renamed_file_is_created_again_within_a_second() {
        let mut log = Log::new();
        log.write("1\n").unwrap();
        fs::rename(log.path("audit.log"), log.path("audit.log.1")).unwrap();
        log.now += CHECK_INTERVAL / 2;
        log.write("2\n").unwrap();
        log.now += CHECK_INTERVAL;
        log.write("3\n").unwrap();
        assert_eq!((log.read("audit.log.1"), log.read("audit.log")), ("1\n2\n".into(), "3\n".into()));
    }

    #[test]
    fn a_line_is_written_once_a_missing_directory_is_back() {
        let mut log = Log::new();
        let directory = log.path("logs");
        fs::create_dir(&directory).unwrap();
        log.file = LogFile::open(&directory.join("audit.log")).unwrap();
        fs::rename(&directory, log.path("elsewhere")).unwrap();
        log.now += CHECK_INTERVAL * 2;
        assert_eq!(log.write("1\n").unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir(&directory).unwrap();
        log.write("1\n").unwrap();
        assert_eq!(log.read("logs/audit.log"), "1\n");
    }

    #[test]
    fn a_line_is_continued_where_the_write_failed() {
        let mut log = Log::new();
        log.write("1\n").unwrap();
        // A write of which the disk took 3 bytes.
        log.file.file.write_all(b"{\"a").unwrap();
        (log.file.written, log.file.failed) = (3, true);
        log.write("{\"a\":2}\n").unwrap();
        assert_eq!(log.read("audit.log"), "1\n{\"a\":2}\n");
        // And then the file was emptied to make room.
        log.file.file.set_len(0).unwrap();
        (log.file.written, log.file.failed) = (3, true);
        log.write("{\"a\":3}\n").unwrap();
        assert_eq!(log.read("audit.log"), "{\"a\":3}\n");
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_a_lost_line() {
        let mut log = Log::new();
        log.file.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        log.file.path = None;
        assert_eq!(log.write("1\n").unwrap_err().kind(), ErrorKind::StorageFull);
        log.file.file = append_to(&log.path("audit.log")).unwrap();
        log.write("1\n").unwrap();
        assert_eq!(log.read("audit.log"), "1\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_has_a_remedy() {
        let log = Log::new();
        for (path, parts) in [
            (log.path("missing/audit.log"), ["No such file", "create its directory"]),
            (log.path(""), ["not a regular file", "or - for standard output"]),
        ] {
            let error = LogFile::open(&path).unwrap_err().to_string();
            assert!(error.starts_with("--audit-log: can't open /"), "{error}");
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        let failed = |kind: ErrorKind| CannotOpen { path: log.path("audit.log"), error: kind.into() };
        for (kind, is_usage, remedy) in [
            (ErrorKind::NotFound, true, "create its directory"),
            (ErrorKind::NotADirectory, true, "name a file"),
            (ErrorKind::PermissionDenied, false, "let the user of the server write"),
            (ErrorKind::ReadOnlyFilesystem, false, "name a file"),
        ] {
            let error = failed(kind);
            assert_eq!(error.is_usage(), is_usage, "{error}");
            assert!(error.to_string().contains(remedy), "{error}");
        }
    }
}
