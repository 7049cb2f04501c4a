//! What the kernel says of a process.

use std::fs;

use anyhow::Context as _;

/// Bytes of memory that are really in use (`VmRSS`).
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("{path} has no VmRSS"))?
        .parse()?;
    Ok(kib * 1024)
}

/// Files and sockets it has open.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<usize> {
    let path = format!("/proc/{pid}/fd");
    let files = fs::read_dir(&path).with_context(|| format!("can't read {path}"))?;
    Ok(files.count())
}
