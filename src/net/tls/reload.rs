//! Values parsed from files, reloaded when the files change.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use super::pem::{PemFile, Text};
use crate::runtime::sync::Mutex;

/// Time between the two polls that must find the same contents.
const SETTLE: Duration = Duration::from_millis(200);

/// The value that was parsed last without an error.
#[derive(Debug)]
pub(crate) struct Current<T>(Mutex<Arc<T>>);

impl<T> Current<T> {
    /// Returns the current value.
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }

    fn set(&self, new: T) {
        *self.0.lock() = Arc::new(new);
    }
}

/// Files that are polled for changes. Contents are compared, not modification times,
/// because Kubernetes replaces the files of a Secret by moving a symbolic link.
pub(crate) struct Reloading<T, const N: usize> {
    files: [PemFile; N],
    parse: fn([(&PemFile, &Text); N]) -> anyhow::Result<T>,
    current: Arc<Current<T>>,
    /// The contents that `current` was parsed from.
    loaded: [Text; N],
    /// Set while the last poll found other contents than `loaded`.
    change: Option<Change<N>>,
}

/// Contents that differ from those in use. They are used if two polls find the same: half of an
/// access file can be valid, and allow more than the whole.
struct Change<const N: usize> {
    /// `None` if the files could not be read.
    texts: Option<[Text; N]>,
    /// Whether they were parsed, which happens once.
    parsed: bool,
}

/// The result of one poll of the files.
#[derive(Debug)]
enum Poll {
    /// Nothing to report.
    Unchanged,
    /// The files have changed since the last poll, so they may just be being written.
    Changing,
    /// The files have changed and their new value is current.
    Replaced,
    /// The files have changed and are invalid.
    Invalid(anyhow::Error),
}

impl<T: Send + Sync + 'static, const N: usize> Reloading<T, N> {
    /// Loads the files for the first time.
    ///
    /// # Errors
    ///
    /// If a file can't be read or parsed.
    pub(crate) fn load(
        files: [PemFile; N],
        parse: fn([(&PemFile, &Text); N]) -> anyhow::Result<T>,
    ) -> anyhow::Result<Self> {
        let loaded = read(&files)?;
        let current = Arc::new(Current(Mutex::new(Arc::new(parse(paired(&files, &loaded))?))));
        Ok(Self { files, parse, current, loaded, change: None })
    }

    /// Returns a handle to the value, which later reloads update.
    pub(crate) fn current(&self) -> Arc<Current<T>> {
        Arc::clone(&self.current)
    }

    /// Polls the files until dropped, so that a change is used within this interval after the files
    /// were written. If they are invalid, logs the error and keeps the current value.
    pub(crate) async fn run(self, interval: Duration) {
        self.run_then(interval, |_| ()).await;
    }

    /// As [`Reloading::run`], and calls `on_replaced` with each new value.
    pub(crate) async fn run_then(mut self, interval: Duration, on_replaced: impl Fn(&T)) {
        let interval = interval.saturating_sub(SETTLE);
        let mut wait = interval;
        loop {
            sleep(wait).await;
            // Off the runtime's threads: a file may be on a slow network disk.
            let polled = spawn_blocking(move || {
                let result = self.poll();
                (self, result)
            });
            let Ok((reloading, result)) = polled.await else { return };
            self = reloading;
            let files = self.files.each_ref().map(PemFile::source).join(", ");
            wait = if matches!(result, Poll::Changing) { SETTLE } else { interval };
            match result {
                Poll::Unchanged | Poll::Changing => {}
                Poll::Replaced => {
                    info!(files, "reloaded");
                    on_replaced(&self.current.get());
                }
                Poll::Invalid(error) => {
                    warn!(files, "can't reload, still using the previous content: {error:#}");
                }
            }
        }
    }

    fn poll(&mut self) -> Poll {
        let texts = read(&self.files);
        if texts.as_ref().is_ok_and(|texts| *texts == self.loaded) {
            self.change = None;
            return Poll::Unchanged;
        }
        match &mut self.change {
            Some(change) if change.texts.as_ref() == texts.as_ref().ok() => {
                if std::mem::replace(&mut change.parsed, true) {
                    return Poll::Unchanged;
                }
            }
            _ => {
                self.change = Some(Change { texts: texts.ok(), parsed: false });
                return Poll::Changing;
            }
        }
        match texts.and_then(|texts| Ok(((self.parse)(paired(&self.files, &texts))?, texts))) {
            Ok((new, texts)) => {
                self.current.set(new);
                (self.loaded, self.change) = (texts, None);
                Poll::Replaced
            }
            Err(error) => Poll::Invalid(error),
        }
    }
}

fn read<const N: usize>(files: &[PemFile; N]) -> anyhow::Result<[Text; N]> {
    let mut texts = [const { Text::new() }; N];
    for (file, text) in files.iter().zip(&mut texts) {
        *text = file.read()?;
    }
    Ok(texts)
}

fn paired<'a, const N: usize>(files: &'a [PemFile; N], texts: &'a [Text; N]) -> [(&'a PemFile, &'a Text); N] {
    std::array::from_fn(|at| (&files[at], &texts[at]))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn uppercase([(file, text)]: [(&PemFile, &Text); 1]) -> anyhow::Result<String> {
        let text = std::str::from_utf8(text)?;
        anyhow::ensure!(!text.contains('?'), "{}: has a question mark", file.source());
        Ok(text.to_uppercase())
    }

    fn write(at: &Path, text: &str) {
        fs::write(at, text).unwrap();
    }

    /// A file and the value that is reloaded from it.
    struct Fixture {
        _dir: tempfile::TempDir,
        path: std::path::PathBuf,
        reloading: Reloading<String, 1>,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("tls.crt");
            write(&path, "one");
            let reloading = Reloading::load([PemFile::new("cert", &path)], uppercase).unwrap();
            Self { _dir: dir, path, reloading }
        }

        fn poll(&mut self) -> (&'static str, String) {
            let result = match self.reloading.poll() {
                Poll::Unchanged => "unchanged",
                Poll::Changing => "changing",
                Poll::Replaced => "replaced",
                Poll::Invalid(_) => "invalid",
            };
            (result, self.reloading.current().get().to_string())
        }
    }

    #[test]
    fn a_changed_file_is_reloaded_by_the_second_poll() {
        let mut f = Fixture::new();
        assert_eq!(f.poll(), ("unchanged", "ONE".into()));
        write(&f.path, "two");
        assert_eq!(f.poll(), ("changing", "ONE".into()));
        assert_eq!(f.poll(), ("replaced", "TWO".into()));
        assert_eq!(f.poll(), ("unchanged", "TWO".into()));
        write(&f.path, "two");
        assert_eq!(f.poll(), ("unchanged", "TWO".into()), "written again with the same content");
    }

    /// Half of an access file can be valid: a role without the namespaces that limit it.
    #[test]
    fn a_valid_half_of_a_file_that_is_being_written_is_not_used() {
        let mut f = Fixture::new();
        write(&f.path, "viewer");
        assert_eq!(f.poll(), ("changing", "ONE".into()));
        write(&f.path, "viewer of shop");
        assert_eq!(f.poll(), ("changing", "ONE".into()));
        assert_eq!(f.poll(), ("replaced", "VIEWER OF SHOP".into()));
    }

    #[test]
    fn invalid_files_keep_the_value_and_are_reported_once_by_the_second_poll() {
        let mut f = Fixture::new();
        write(&f.path, "two?");
        let results: Vec<_> = (0..4).map(|_| f.poll().0).collect();
        assert_eq!(results, ["changing", "invalid", "unchanged", "unchanged"]);
        write(&f.path, "three?");
        assert_eq!([f.poll().0, f.poll().0], ["changing", "invalid"], "another problem is reported again");
        fs::remove_file(&f.path).unwrap();
        assert_eq!([f.poll().0, f.poll().0, f.poll().0], ["changing", "invalid", "unchanged"]);
        assert_eq!(f.poll().1, "ONE");
        write(&f.path, "four");
        assert_eq!([f.poll().0, f.poll().0], ["changing", "replaced"]);
        assert_eq!(f.poll().1, "FOUR");
    }

    /// The open of a named pipe waits for a writer, and would end the reloads unnoticed.
    #[cfg(unix)]
    #[test]
    fn a_named_pipe_is_rejected_and_does_not_end_the_reloads() {
        let mut f = Fixture::new();
        fs::remove_file(&f.path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&f.path).status().unwrap();
        assert!(made.success());
        let (sender, polled) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let results = [f.poll(), f.poll()];
            fs::remove_file(&f.path).unwrap();
            write(&f.path, "two");
            sender.send((results, [f.poll(), f.poll()])).unwrap();
        });
        let (pipe, file) = polled.recv_timeout(Duration::from_mins(1)).expect("the poll ends");
        assert_eq!(pipe, [("changing", "ONE".into()), ("invalid", "ONE".into())]);
        assert_eq!(file, [("changing", "ONE".into()), ("replaced", "TWO".into())]);
    }

    /// The server selects on this end: with it, the reload would stop unnoticed.
    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_the_task() {
        let f = Fixture::new();
        let panics = Reloading { parse: |_| panic!("a bug"), ..f.reloading };
        write(&f.path, "two");
        panics.run(Duration::from_secs(5)).await;
    }

    #[test]
    fn a_file_that_is_being_written_is_not_reported() {
        let mut f = Fixture::new();
        for (half, whole, value) in [("tw?", "two", "TWO"), ("thr?", "three", "THREE")] {
            write(&f.path, half);
            assert_eq!(f.poll().0, "changing");
            write(&f.path, whole);
            assert_eq!(f.poll().0, "changing");
            assert_eq!(f.poll(), ("replaced", value.into()));
        }
        write(&f.path, "half?");
        assert_eq!(f.poll().0, "changing");
        write(&f.path, "three");
        assert_eq!(f.poll().0, "unchanged", "the old content is back");
        write(&f.path, "half?");
        assert_eq!(f.poll().0, "changing", "invalid for the first time again");
    }

    /// Kubernetes replaces the files of a Secret this way.
    #[cfg(unix)]
    #[test]
    fn a_moved_symbolic_link_is_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (at, data) = (|name: &str| dir.path().join(name), dir.path().join("..data"));
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            write(&at(version).join("tls.crt"), version);
        }
        symlink("1", &data).unwrap();
        symlink("..data/tls.crt", at("tls.crt")).unwrap();
        let mut reloading = Reloading::load([PemFile::new("cert", at("tls.crt"))], uppercase).unwrap();
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), &data).unwrap();
        assert!(matches!([reloading.poll(), reloading.poll()], [Poll::Changing, Poll::Replaced]));
        assert_eq!(*reloading.current().get(), "2");
    }

    #[test]
    fn a_file_that_cannot_be_loaded_at_first_is_an_error_that_names_setting_and_file() {
        let file = PemFile::new("kube-tls-cert-file", "/no/such.crt");
        let error = format!("{:#}", Reloading::load([file], uppercase).err().unwrap());
        assert!(error.starts_with("--kube-tls-cert-file /no/such.crt: can't read it: check that"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}
