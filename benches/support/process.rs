//! Measurements of a process, from `/proc`.

use std::{fs, os::unix::fs::FileExt as _, time::Duration};

use anyhow::Context as _;

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmRSS:")
}

/// Peak of the resident memory in bytes.
pub(crate) fn peak_resident_bytes(pid: u32) -> anyhow::Result<u64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("{path} has no {field}"))?
        .parse()?;
    Ok(kib * 1024)
}

/// CPU time of all threads, in user mode and in the kernel.
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&path).with_context(|| format!("can't read {path}"))?;
    let mut nanos = 0;
    for thread in threads {
        let path = thread?.path().join("schedstat");
        let stat = fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let on_processor = stat.split_whitespace().next();
        nanos += on_processor.with_context(|| format!("{} is empty", path.display()))?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Time that the calling thread has been runnable but not running: the run queue delay of the scheduler.
#[derive(Debug)]
pub(crate) struct RunQueueDelay(fs::File);

impl RunQueueDelay {
    pub(crate) fn of_this_thread() -> anyhow::Result<Self> {
        Ok(Self(fs::File::open("/proc/thread-self/schedstat").context("can't read schedstat")?))
    }

    pub(crate) fn so_far(&self) -> anyhow::Result<Duration> {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0)?;
        let stat = str::from_utf8(&text[..length])?;
        let waited = stat.split_whitespace().nth(1).context("schedstat is short")?;
        Ok(Duration::from_nanos(waited.parse()?))
    }
}

/// Number of open files and sockets.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<usize> {
    let path = format!("/proc/{pid}/fd");
    let files = fs::read_dir(&path).with_context(|| format!("can't read {path}"))?;
    Ok(files.count())
}
