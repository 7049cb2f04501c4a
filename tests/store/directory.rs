//! Data directories for tests, and processes that use them.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use headcount::store::{DataDir, Item, Store};
use tempfile::TempDir;

use super::subject::{delete, put};

/// The two files of a directory.
pub const FILES: [&str; 2] = ["registrations.redb", "resources.redb"];

/// Creates a data directory with entries in both files.
pub async fn filled() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let data = DataDir::open(&path).unwrap();
    fill(&*data.registrations()).await;
    fill(&*data.resources()).await;
    (directory, path)
}

async fn fill(store: &dyn Store) {
    for commit in 0..3 {
        let writes = (0..40).map(|n| put(format!("key/{commit}/{n}"), vec![commit; 200]));
        store.commit(writes.collect()).await.unwrap();
    }
    store.commit((0..40).step_by(3).map(|n| delete(format!("key/1/{n}"))).collect()).await.unwrap();
}

/// The entries of both files.
pub async fn contents(data: &DataDir) -> [Vec<Item>; 2] {
    let load = async |store: &dyn Store| store.load(b"").await.unwrap().items;
    [load(&*data.registrations()).await, load(&*data.resources()).await]
}

/// Every file of a directory with its bytes, except the lock.
pub fn bytes(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|path| path.is_file() && !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A process that opens a data directory and holds it until it is dropped.
pub struct Holder {
    child: Child,
    output: BufReader<ChildStdout>,
}

const HELD: &str = "HEADCOUNT_TEST_HELD_DIRECTORY";

impl Holder {
    /// With a user, the process runs as this one; only root can start it.
    pub fn start(path: &Path, executable: &Path, user: Option<u32>) -> Self {
        let mut command = Command::new(executable);
        command.args(["--exact", "directory::hold", "--ignored", "--nocapture"]).env(HELD, path);
        if let Some(user) = user {
            command.uid(user).gid(user).current_dir("/");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, output }
    }

    pub fn here(path: &Path) -> Self {
        Self::start(path, &env::current_exe().unwrap(), None)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has opened the directory, or returns its error.
    pub fn opened(&mut self) -> Result<(), String> {
        for line in self.output.by_ref().lines() {
            let line = line.unwrap();
            if line == "OPEN" {
                return Ok(());
            }
            if let Some(error) = line.strip_prefix("ERROR ") {
                return Err(error.to_owned());
            }
        }
        panic!("the process has ended");
    }

    /// As `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The main function of a [`Holder`].
#[test]
#[ignore = "a part of other tests"]
fn hold() {
    let Ok(path) = env::var(HELD) else { return };
    let result = DataDir::open(Path::new(&path));
    let mut out = std::io::stdout();
    match &result {
        // After the line that the test harness begins.
        Ok(_) => writeln!(out, "\nOPEN").unwrap(),
        Err(error) => writeln!(out, "\nERROR {error}").unwrap(),
    }
    // The end of the other process.
    let _ = std::io::stdin().lines().next();
}
