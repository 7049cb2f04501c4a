//! The flags that say how Envoys check and report.

use std::num::NonZeroU32;

use clap::Args;

use crate::{
    cli::{Parsed, Problems},
    envoy::checks::{CheckSettings, Interval, Timeout},
};

#[derive(Args, Debug)]
#[command(next_help_heading = "Envoy")]
pub(super) struct EnvoyArgs {
    /// Time from one check of an application by its Envoy to the next
    #[arg(long = "envoy-check-interval", value_name = "DURATION", default_value = "1s")]
    check_interval: Parsed<Interval>,
    /// Time for the answer to a check
    #[arg(long = "envoy-check-timeout", value_name = "DURATION", default_value = "500ms")]
    check_timeout: Parsed<Timeout>,
    /// Time from one report of an Envoy to the next; one that misses three, and at least 2s, is lost
    #[arg(long = "envoy-report-interval", value_name = "DURATION", default_value = "250ms")]
    report_interval: Parsed<Interval>,
    /// Checks that fail in a row until an inbound is not ready
    #[arg(long = "envoy-unhealthy-threshold", value_name = "COUNT", default_value = "1")]
    unhealthy_threshold: Parsed<NonZeroU32>,
    /// Checks that pass in a row until it is ready again
    #[arg(long = "envoy-healthy-threshold", value_name = "COUNT", default_value = "1")]
    healthy_threshold: Parsed<NonZeroU32>,
}

impl EnvoyArgs {
    pub(super) fn check(self, problems: &mut Problems) -> CheckSettings {
        let stand_in = CheckSettings::default();
        let check_interval = problems.take("envoy-check-interval", self.check_interval);
        let check_timeout = problems.take("envoy-check-timeout", self.check_timeout);
        let report_interval = problems.take("envoy-report-interval", self.report_interval);
        let unhealthy = problems.take("envoy-unhealthy-threshold", self.unhealthy_threshold);
        let healthy = problems.take("envoy-healthy-threshold", self.healthy_threshold);
        CheckSettings {
            check_interval: check_interval.unwrap_or(stand_in.check_interval),
            check_timeout: check_timeout.unwrap_or(stand_in.check_timeout),
            report_interval: report_interval.unwrap_or(stand_in.report_interval),
            unhealthy_threshold: unhealthy.unwrap_or(stand_in.unhealthy_threshold),
            healthy_threshold: healthy.unwrap_or(stand_in.healthy_threshold),
        }
    }
}
