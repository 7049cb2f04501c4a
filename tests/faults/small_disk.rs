//! A file system of a few megabytes, in a mount namespace of its own, that a test can fill.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command as StdCommand,
};

use tokio::process::Command;

use crate::support::{Program, Site};

/// Size of the file system.
const SIZE: &str = "16m";
const PAGE: [u8; 4_096] = [0; 4_096];

/// A small file system. It exists until this is dropped.
pub(crate) struct SmallDisk {
    /// Keeps the namespace.
    holder: Program,
    /// Where the file system is mounted, in the namespace.
    pub(crate) path: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system in the site's directory. If that is not possible, prints why and returns none;
    /// the test should return then.
    pub(crate) async fn new(site: &Site) -> Option<Self> {
        // Without privileges a process may mount a file system in a user namespace of its own.
        const UNSHARE: [&str; 3] = ["--map-root-user", "--user", "--mount"];
        let possible =
            StdCommand::new("unshare").args(UNSHARE).args(["mount", "-t", "tmpfs", "none", "/mnt"]).output();
        let possible = possible.map_err(|error| error.to_string()).and_then(|run| {
            if run.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&run.stderr).into_owned()) }
        });
        if let Err(error) = possible {
            println!("SKIPPED: no file system can be mounted here: {error}");
            return None;
        }
        let path = site.path("disk");
        fs::create_dir(&path).expect("a new directory");
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && echo mounted && exec sleep infinity";
        let mut holder = Command::new("unshare");
        holder.args(UNSHARE).args(["bash", "-c", script, "bash", SIZE]).arg(&path);
        let holder = Program::start(&mut holder);
        holder.wait_for_stdout("mounted", |out| out.contains("mounted").then_some(())).await;
        Some(Self { holder, path })
    }

    /// A wrapper of commands that run in the namespace.
    pub(crate) fn wrapper(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        let words = ["nsenter", "--target", &holder, "--user", "--mount", "--preserve-credentials", "--"];
        words.map(str::to_owned).into()
    }

    /// Writes a file until the file system is full.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        let error = std::iter::repeat_with(|| file.write_all(&PAGE)).find_map(Result::err).expect("an end");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    /// Deletes the file.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("the file exists");
    }

    /// The file, seen from outside of the namespace.
    fn filler(&self) -> PathBuf {
        let root = Path::new("/proc").join(self.holder.id().to_string()).join("root");
        root.join(self.path.strip_prefix("/").expect("an absolute path")).join("filler")
    }
}
