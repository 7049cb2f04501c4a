//! Remarks about a server that is warming, on standard error.

use std::time::Duration;

use crate::{cli::Terminal, proto::Warming, registry::WarmingStatus};

/// Remarks that the counts are too low, if the server is warming.
pub(super) fn remark_warming(warming: Option<Warming>, terminal: &mut Terminal<'_>) {
    if let Some(Warming { missing_dataplanes, remaining }) = warming {
        let missing = usize::try_from(missing_dataplanes).unwrap_or(usize::MAX);
        let remaining = remaining.and_then(|remaining| Duration::try_from(remaining).ok());
        terminal.remark(WarmingStatus { missing, remaining: remaining.unwrap_or_default() });
    }
}

/// The remarks of a watch: one when the server begins to warm, and one when it ends.
#[derive(Debug, Default)]
pub(super) struct WarmingRemarks {
    was_warming: bool,
}

impl WarmingRemarks {
    /// To be called with the state of each complete batch.
    pub(super) fn update(&mut self, warming: Option<Warming>, terminal: &mut Terminal<'_>) {
        let is_warming = warming.is_some();
        if is_warming && !self.was_warming {
            remark_warming(warming, terminal);
        } else if self.was_warming && !is_warming {
            terminal.remark("the server no longer waits for dataplanes to reconnect");
        }
        self.was_warming = is_warming;
    }
}
