//! What is read from files, and read again when they change.

use std::{sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

use super::pem::{PemFile, Text};
use crate::runtime::sync::Mutex;

/// What was read last and made sense.
#[derive(Debug)]
pub(crate) struct Current<T>(Mutex<Arc<T>>);

impl<T> Current<T> {
    pub(crate) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.lock())
    }

    fn set(&self, new: T) {
        *self.0.lock() = Arc::new(new);
    }
}

/// Files that are looked at again and again. What they say is compared, not when
/// they were written: Kubernetes replaces a Secret's files by turning a link.
pub(crate) struct Reloading<T, const N: usize> {
    files: [PemFile; N],
    parse: fn([(&PemFile, &Text); N]) -> anyhow::Result<T>,
    current: Arc<Current<T>>,
    /// From which `current` was made.
    served: [Text; N],
    /// What made no sense, if that is how the files were found last.
    broken: Option<Broken<N>>,
}

struct Broken<const N: usize> {
    /// None where they could not be read.
    texts: Option<[Text; N]>,
    /// Once is enough.
    told: bool,
}

/// What a look at the files has shown.
#[derive(Debug)]
enum Found {
    /// Nothing to speak of.
    NoNews,
    /// Something else is served from now on.
    Replaced,
    /// They have made no sense twice in a row: nobody is just replacing them.
    Broken(anyhow::Error),
}

impl<T: Send + Sync + 'static, const N: usize> Reloading<T, N> {
    /// Reads the files, which must make sense this first time.
    pub(crate) fn load(
        files: [PemFile; N],
        parse: fn([(&PemFile, &Text); N]) -> anyhow::Result<T>,
    ) -> anyhow::Result<Self> {
        let served = read(&files)?;
        let current = Arc::new(Current(Mutex::new(Arc::new(parse(paired(&files, &served))?))));
        Ok(Self { files, parse, current, served, broken: None })
    }

    /// What they say, also later.
    pub(crate) fn current(&self) -> Arc<Current<T>> {
        Arc::clone(&self.current)
    }

    /// Reads the files again and again, at this interval, until dropped. What makes no sense is
    /// logged, and what made sense before is kept.
    pub(crate) async fn run(mut self, interval: Duration) {
        loop {
            sleep(interval).await;
            // A file may be on a disk that is far away.
            let looked = spawn_blocking(move || {
                let found = self.look();
                (self, found)
            });
            let Ok((looked, found)) = looked.await else { return };
            self = looked;
            let places = self.files.each_ref().map(PemFile::place).join(", ");
            match found {
                Found::NoNews => {}
                Found::Replaced => info!(files = places, "read again: they have changed"),
                Found::Broken(error) => {
                    warn!(files = places, "still serving what was read before: {error:#}");
                }
            }
        }
    }

    fn look(&mut self) -> Found {
        let texts = match read(&self.files) {
            Ok(texts) => texts,
            Err(error) => return self.broken(None, error),
        };
        if texts == self.served {
            self.broken = None;
            return Found::NoNews;
        }
        match (self.parse)(paired(&self.files, &texts)) {
            Ok(new) => {
                self.current.set(new);
                (self.served, self.broken) = (texts, None);
                Found::Replaced
            }
            Err(error) => self.broken(Some(texts), error),
        }
    }

    fn broken(&mut self, texts: Option<[Text; N]>, error: anyhow::Error) -> Found {
        match &mut self.broken {
            Some(before) if before.texts == texts => {
                if std::mem::replace(&mut before.told, true) {
                    Found::NoNews
                } else {
                    Found::Broken(error)
                }
            }
            _ => {
                self.broken = Some(Broken { texts, told: false });
                Found::NoNews
            }
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

    fn shout([(file, text)]: [(&PemFile, &Text); 1]) -> anyhow::Result<String> {
        let text = std::str::from_utf8(text)?;
        anyhow::ensure!(!text.contains('?'), "{}: has a question", file.place());
        Ok(text.to_uppercase())
    }

    fn write(at: &Path, text: &str) {
        fs::write(at, text).unwrap();
    }

    /// A file, its reader, and what the reader says.
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
            let reloading = Reloading::load([PemFile::new("cert", &path)], shout).unwrap();
            Self { _dir: dir, path, reloading }
        }

        fn look(&mut self) -> (&'static str, String) {
            let found = match self.reloading.look() {
                Found::NoNews => "no news",
                Found::Replaced => "replaced",
                Found::Broken(_) => "broken",
            };
            (found, self.reloading.current().get().to_string())
        }
    }

    #[test]
    fn what_a_file_says_is_served_from_the_next_look_on() {
        let mut f = Fixture::new();
        assert_eq!(f.look(), ("no news", "ONE".into()));
        write(&f.path, "two");
        assert_eq!(f.look(), ("replaced", "TWO".into()));
        assert_eq!(f.look(), ("no news", "TWO".into()));
        write(&f.path, "two");
        assert_eq!(f.look(), ("no news", "TWO".into()), "written again, with the same words");
    }

    #[test]
    fn what_makes_no_sense_changes_nothing_and_is_told_once_when_it_stays() {
        let mut f = Fixture::new();
        write(&f.path, "two?");
        let looks: Vec<_> = (0..4).map(|_| f.look().0).collect();
        assert_eq!(looks, ["no news", "broken", "no news", "no news"]);
        write(&f.path, "three?");
        assert_eq!([f.look().0, f.look().0], ["no news", "broken"], "another problem is told again");
        fs::remove_file(&f.path).unwrap();
        assert_eq!([f.look().0, f.look().0, f.look().0], ["no news", "broken", "no news"]);
        assert_eq!(f.look().1, "ONE");
        write(&f.path, "four");
        assert_eq!(f.look(), ("replaced", "FOUR".into()));
    }

    #[test]
    fn a_file_that_is_just_being_replaced_is_no_trouble() {
        let mut f = Fixture::new();
        for (half, whole, shown) in [("tw?", "two", "TWO"), ("thr?", "three", "THREE")] {
            write(&f.path, half);
            assert_eq!(f.look().0, "no news");
            write(&f.path, whole);
            assert_eq!(f.look(), ("replaced", shown.into()));
        }
        write(&f.path, "half?");
        assert_eq!(f.look().0, "no news");
        write(&f.path, "three");
        assert_eq!(f.look().0, "no news", "the old one is back");
        write(&f.path, "half?");
        assert_eq!(f.look().0, "no news", "and this is a first time again");
    }

    /// As Kubernetes replaces the files of a Secret.
    #[cfg(unix)]
    #[test]
    fn a_link_that_is_turned_is_followed() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (at, data) = (|name: &str| dir.path().join(name), dir.path().join("..data"));
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            write(&at(version).join("tls.crt"), version);
        }
        symlink("1", &data).unwrap();
        symlink("..data/tls.crt", at("tls.crt")).unwrap();
        let mut reloading = Reloading::load([PemFile::new("cert", at("tls.crt"))], shout).unwrap();
        symlink("2", at("next")).unwrap();
        fs::rename(at("next"), &data).unwrap();
        assert!(matches!(reloading.look(), Found::Replaced));
        assert_eq!(*reloading.current().get(), "2");
    }

    #[test]
    fn what_makes_no_sense_at_first_is_an_error_that_names_setting_and_file() {
        let file = PemFile::new("kube-tls-cert-file", "/no/such.crt");
        let error = format!("{:#}", Reloading::load([file], shout).err().unwrap());
        assert!(error.starts_with("--kube-tls-cert-file /no/such.crt: can't read it: check that"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}
