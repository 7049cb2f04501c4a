//! The health checks that headcount requests of an Envoy, as a `HealthCheckSpecifier`.
//!
//! Some specifiers crash Envoy: an address that is not a literal IP address, a port by name, an endpoint
//! without an address, a locality without endpoints. Others Envoy rejects with a line in its own log, or
//! interprets in an unexpected way: with an interval of 0 it never reports. The types of this module
//! can't represent any of these.

mod settings;

use std::{fmt, net::IpAddr, num::NonZeroU16};

pub use settings::{BoundedDuration, CheckSettings, Interval, Timeout};

use crate::{
    model::{Invalid, Quoted},
    proto::envoy::{
        config::{
            core::v3::{
                Address, HealthCheck, SocketAddress,
                health_check::{HealthChecker, HttpHealthCheck, TcpHealthCheck},
            },
            endpoint::v3::Endpoint,
        },
        service::health::v3::{ClusterHealthCheck, HealthCheckSpecifier, LocalityEndpoints},
        r#type::v3::Int64Range,
    },
};

/// Name of an inbound's cluster, up to the port. In Envoy's statistics the prefix separates these
/// clusters from the user's own.
const INBOUND_CLUSTER_PREFIX: &str = "headcount:inbound:";
/// Name of the cluster that checks the Envoy's own readiness.
const READY_CLUSTER: &str = "headcount:ready";
/// Readiness path of Envoy's admin interface.
const READY_PATH: &str = "/ready";
/// Longest path of a check, in bytes. Envoy sends it with each check.
const MAX_PATH_BYTES: usize = 1024;
/// HTTP statuses that pass: 2xx and 3xx, as for the agent's probes and those of Kubernetes. Envoy's
/// default is 200 alone.
const PASSING_STATUSES: Int64Range = Int64Range { start: 200, end: 400 };

/// The health checks of one Envoy: one for each inbound of the dataplane, in the same order, and after
/// them optionally its own readiness. Without any, the Envoy sends empty reports, which show that it is
/// alive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks(Box<[Check]>);

/// One health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The inbound, or the Envoy itself, whose health the check determines.
    pub target: Target,
    /// The address that Envoy checks.
    pub endpoint: EndpointAddress,
    /// The protocol of the check.
    pub checker: Checker,
    /// False if the inbound counts as not ready whatever the result.
    pub may_be_ready: bool,
}

/// The subject of a health check. Its `Display` is the name of the check's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The application behind the inbound with this port.
    Inbound(u16),
    /// The Envoy itself. It is not ready while it starts or drains.
    Ready,
}

/// The address of an endpoint: a literal IP address, because Envoy crashes if it is sent a host name, and
/// a TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointAddress {
    /// IPv4 or IPv6.
    pub address: IpAddr,
    /// TCP port.
    pub port: NonZeroU16,
}

/// The protocol of a health check, Envoy's `health_checker`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checker {
    /// Passes if a connection is accepted. The kernel also accepts connections for a process that hangs,
    /// so this check does not detect one.
    Tcp,
    /// Passes if a GET of this path returns a 2xx or 3xx status.
    Http(HttpPath),
}

/// A request path: starts with `/`, visible ASCII, at most 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPath(Box<str>);

impl Checks {
    /// The checks of `inbounds`, each with a target of its own, and of the readiness of the Envoy with the
    /// given admin interface.
    pub(super) fn new(inbounds: impl IntoIterator<Item = Check>, admin: Option<EndpointAddress>) -> Self {
        let ready = admin.map(|endpoint| Check {
            target: Target::Ready,
            endpoint,
            checker: Checker::Http(HttpPath(READY_PATH.into())),
            may_be_ready: true,
        });
        Self(inbounds.into_iter().chain(ready).collect())
    }

    /// Iterates over the checks: inbounds first, readiness last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Check> {
        self.0.iter()
    }

    /// Converts the checks to the message that Envoy receives.
    pub fn specifier(&self, settings: &CheckSettings) -> HealthCheckSpecifier {
        HealthCheckSpecifier {
            cluster_health_checks: self.iter().map(|check| check.to_proto(settings)).collect(),
            interval: Some(settings.report_interval.to_proto()),
        }
    }
}

impl Check {
    /// A cluster of one endpoint with one check: the checks of a cluster share one state per endpoint.
    fn to_proto(&self, settings: &CheckSettings) -> ClusterHealthCheck {
        let interval = Some(settings.check_interval.to_proto());
        let health_check = HealthCheck {
            timeout: Some(settings.check_timeout.to_proto()),
            interval,
            no_traffic_interval: interval,
            unhealthy_threshold: Some(settings.unhealthy_threshold.get()),
            healthy_threshold: Some(settings.healthy_threshold.get()),
            health_checker: Some(self.checker.to_proto(self.endpoint)),
        };
        ClusterHealthCheck {
            cluster_name: self.target.to_string(),
            health_checks: vec![health_check],
            locality_endpoints: vec![LocalityEndpoints { endpoints: vec![self.endpoint.to_proto()] }],
        }
    }
}

impl Target {
    /// Parses the name of a cluster; returns none if headcount did not request it.
    pub(super) fn from_cluster_name(name: &str) -> Option<Self> {
        if name == READY_CLUSTER {
            return Some(Self::Ready);
        }
        let port = name.strip_prefix(INBOUND_CLUSTER_PREFIX)?;
        // `u16::from_str` also accepts a sign and leading zeros.
        let is_canonical = port.starts_with(|c| matches!(c, '1'..='9'));
        port.parse().ok().filter(|_| is_canonical).map(Self::Inbound)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbound(port) => write!(f, "{INBOUND_CLUSTER_PREFIX}{port}"),
            Self::Ready => f.write_str(READY_CLUSTER),
        }
    }
}

impl EndpointAddress {
    fn to_proto(self) -> Endpoint {
        let socket_address =
            SocketAddress { address: self.address.to_string(), port_value: self.port.get().into() };
        Endpoint { address: Some(Address { socket_address: Some(socket_address) }) }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port.get()).fmt(f)
    }
}

impl Checker {
    fn to_proto(&self, endpoint: EndpointAddress) -> HealthChecker {
        match self {
            Self::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck {}),
            Self::Http(path) => HealthChecker::HttpHealthCheck(HttpHealthCheck {
                // By default Envoy sends the cluster's name, which is not a valid host; some applications
                // respond to it with 400.
                host: endpoint.to_string(),
                path: path.0.to_string(),
                expected_statuses: vec![PASSING_STATUSES],
            }),
        }
    }
}

impl HttpPath {
    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the path does not start with `/`, is longer than 1024 bytes, or is not visible ASCII.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|c| c.is_ascii_graphic());
        if text.starts_with('/') && visible && text.len() <= MAX_PATH_BYTES {
            return Ok(Self(text.into()));
        }
        let problem = format!(
            "{}: must be a path that begins with '/', of at most {MAX_PATH_BYTES} visible ASCII characters; \
             encode others, such as a space as %20",
            Quoted(text)
        );
        Err(Invalid::new(field, problem))
    }

    /// The path as Envoy requests it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for HttpPath {
    /// `/`.
    fn default() -> Self {
        Self("/".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, port: u16) -> EndpointAddress {
        EndpointAddress { address: address.parse().unwrap(), port: NonZeroU16::new(port).unwrap() }
    }

    fn millis(millis: i64) -> prost_types::Duration {
        let nanos = i32::try_from(millis % 1_000 * 1_000_000).unwrap();
        prost_types::Duration { seconds: millis / 1_000, nanos }
    }

    /// A cluster with the default settings.
    fn cluster(name: &str, address: &str, port: u32, checker: HealthChecker) -> ClusterHealthCheck {
        let socket_address = Some(SocketAddress { address: address.into(), port_value: port });
        ClusterHealthCheck {
            cluster_name: name.into(),
            health_checks: vec![HealthCheck {
                timeout: Some(millis(1_000)),
                interval: Some(millis(250)),
                unhealthy_threshold: Some(1),
                healthy_threshold: Some(1),
                no_traffic_interval: Some(millis(250)),
                health_checker: Some(checker),
            }],
            locality_endpoints: vec![LocalityEndpoints {
                endpoints: vec![Endpoint { address: Some(Address { socket_address }) }],
            }],
        }
    }

    fn http(host: &str, path: &str) -> HealthChecker {
        let expected_statuses = vec![Int64Range { start: 200, end: 400 }];
        HealthChecker::HttpHealthCheck(HttpHealthCheck {
            host: host.into(),
            path: path.into(),
            expected_statuses,
        })
    }

    #[test]
    fn each_target_is_a_cluster_with_one_endpoint_and_one_check() {
        let path = HttpPath::parse("path", "/healthz").unwrap();
        let inbounds = [
            Check {
                target: Target::Inbound(8080),
                endpoint: endpoint("127.0.0.1", 9080),
                checker: Checker::Http(path),
                may_be_ready: true,
            },
            Check {
                target: Target::Inbound(8081),
                endpoint: endpoint("::1", 9081),
                checker: Checker::Tcp,
                may_be_ready: true,
            },
        ];
        let checks = Checks::new(inbounds, Some(endpoint("::1", 9901)));
        let tcp = HealthChecker::TcpHealthCheck(TcpHealthCheck {});
        assert_eq!(
            checks.specifier(&CheckSettings::default()),
            HealthCheckSpecifier {
                cluster_health_checks: vec![
                    cluster("headcount:inbound:8080", "127.0.0.1", 9080, http("127.0.0.1:9080", "/healthz")),
                    cluster("headcount:inbound:8081", "::1", 9081, tcp),
                    cluster("headcount:ready", "::1", 9901, http("[::1]:9901", "/ready")),
                ],
                interval: Some(millis(250)),
            }
        );
    }

    #[test]
    fn without_checks_the_specifier_still_requests_reports() {
        let specifier = Checks::default().specifier(&CheckSettings::default());
        assert_eq!(
            specifier,
            HealthCheckSpecifier { cluster_health_checks: vec![], interval: Some(millis(250)) }
        );
    }

    #[test]
    fn a_cluster_name_identifies_its_target() {
        for target in [Target::Inbound(1), Target::Inbound(65_535), Target::Ready] {
            assert_eq!(Target::from_cluster_name(&target.to_string()), Some(target));
        }
        for other in [
            "",
            "backend",
            "headcount:",
            "headcount:inbound:",
            "headcount:inbound:65536",
            "headcount:inbound:+80",
            "headcount:inbound:080",
            "headcount:Ready",
        ] {
            assert_eq!(Target::from_cluster_name(other), None, "{other}");
        }
    }
}
