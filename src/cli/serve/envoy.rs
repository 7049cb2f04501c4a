//! Flags of `headcount serve` for Envoys that report without an agent.

use std::num::NonZeroU32;

use clap::Args;

use crate::{
    cli::{Parsed, Problems},
    envoy::checks::{CheckSettings, Interval, Timeout},
};

#[derive(Args, Debug)]
#[command(next_help_heading = "Envoys without an agent")]
pub(super) struct EnvoyArgs {
    /// Time between two health checks of an application by its Envoy, 50ms to 1h
    #[arg(long = "envoy-check-interval", value_name = "DURATION", default_value = "250ms")]
    check_interval: Parsed<Interval>,
    /// Longest time for an application's response to a health check, 1ms to 1h
    #[arg(long = "envoy-check-timeout", value_name = "DURATION", default_value = "1s")]
    check_timeout: Parsed<Timeout>,
    /// Time between two health reports of an Envoy, 50ms to 1h
    ///
    /// An Envoy is lost after three intervals, and at least 2s, without a report.
    #[arg(long = "envoy-report-interval", value_name = "DURATION", default_value = "250ms")]
    report_interval: Parsed<Interval>,
    /// Consecutive failed checks until an inbound is not ready
    #[arg(long = "envoy-unhealthy-threshold", value_name = "COUNT", default_value = "1")]
    unhealthy_threshold: Parsed<NonZeroU32>,
    /// Consecutive passed checks until an inbound is ready again
    #[arg(long = "envoy-healthy-threshold", value_name = "COUNT", default_value = "1")]
    healthy_threshold: Parsed<NonZeroU32>,
}

impl EnvoyArgs {
    /// Returns the settings; adds invalid flags to `problems`.
    pub(super) fn check(self, problems: &mut Problems) -> CheckSettings {
        let defaults = CheckSettings::default();
        let check_interval = problems.take("envoy-check-interval", self.check_interval);
        let check_timeout = problems.take("envoy-check-timeout", self.check_timeout);
        let report_interval = problems.take("envoy-report-interval", self.report_interval);
        let unhealthy = problems.take("envoy-unhealthy-threshold", self.unhealthy_threshold);
        let healthy = problems.take("envoy-healthy-threshold", self.healthy_threshold);
        CheckSettings {
            check_interval: check_interval.unwrap_or(defaults.check_interval),
            check_timeout: check_timeout.unwrap_or(defaults.check_timeout),
            report_interval: report_interval.unwrap_or(defaults.report_interval),
            unhealthy_threshold: unhealthy.unwrap_or(defaults.unhealthy_threshold),
            healthy_threshold: healthy.unwrap_or(defaults.healthy_threshold),
        }
    }
}
