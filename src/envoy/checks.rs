//! What an Envoy is asked to check.
//!
//! Some specifiers end an Envoy at once: an address that is no literal IP, a
//! port by name, an endpoint without an address, a locality without endpoints.
//! Others it refuses in a line of its own log, or takes for something else: no
//! report at all for an interval of 0. None of them can be said with the types
//! of this module.

mod settings;

use std::{fmt, net::IpAddr, num::NonZeroU16};

pub use settings::{CheckSettings, Interval, Span, Timeout};

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

/// Before the port in the name of an inbound's cluster. The prefix keeps an
/// Envoy's statistics of these clusters apart from those of its own.
const INBOUND: &str = "headcount:inbound:";
/// Name of the cluster that is the Envoy's own admin interface.
const READY: &str = "headcount:ready";
/// Where an Envoy's admin interface says whether it is ready.
const READY_PATH: &str = "/ready";
/// Longest path of a check. A path is sent once a second, for ever.
const MAX_PATH: usize = 1024;
/// HTTP statuses that pass: 2xx and 3xx, as for the agent's probes and for
/// Kubernetes'. An Envoy that is not told takes 200 alone.
const PASSES: Int64Range = Int64Range { start: 200, end: 400 };

/// What one Envoy is asked to check: each inbound once, in the order of its
/// dataplane's, and then perhaps itself. There may be nothing at all; its
/// reports are then empty, and only say that it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks(Box<[Check]>);

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Whom it is about.
    pub target: Target,
    /// Where it is sent.
    pub at: Place,
    /// What is sent.
    pub probe: Probe,
}

/// Whom a check is about. Written, it is the name of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The application behind the inbound with this port.
    Inbound(u16),
    /// The Envoy itself, which is not ready while it starts or drains.
    Ready,
}

/// Where something listens. An Envoy that is given a name ends at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Written as a literal.
    pub address: IpAddr,
    /// Of TCP.
    pub port: NonZeroU16,
}

/// What a check sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A connection has to be accepted. It is also for a process that hangs: the
    /// kernel accepts in its place.
    Tcp,
    /// A GET of this path has to get a 2xx or 3xx.
    Http(HttpPath),
}

/// A path that may stand in a request: begins with `/`, visible ASCII, at most
/// 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPath(Box<str>);

impl Checks {
    /// The caller names each inbound once.
    pub(super) fn new(inbounds: impl IntoIterator<Item = Check>, admin: Option<Place>) -> Self {
        let ready = admin.map(|at| Check {
            target: Target::Ready,
            at,
            probe: Probe::Http(HttpPath(READY_PATH.into())),
        });
        Self(inbounds.into_iter().chain(ready).collect())
    }

    /// One after another.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Check> {
        self.0.iter()
    }

    /// As an Envoy is told.
    pub fn specifier(&self, settings: &CheckSettings) -> HealthCheckSpecifier {
        HealthCheckSpecifier {
            cluster_health_checks: self.iter().map(|check| check.to_proto(settings)).collect(),
            interval: Some(settings.report_interval.to_proto()),
        }
    }
}

impl Check {
    /// A cluster of one endpoint with one check: a second one would write to the
    /// same state.
    fn to_proto(&self, settings: &CheckSettings) -> ClusterHealthCheck {
        let interval = Some(settings.check_interval.to_proto());
        let health_check = HealthCheck {
            timeout: Some(settings.check_timeout.to_proto()),
            interval,
            no_traffic_interval: interval,
            unhealthy_threshold: Some(settings.unhealthy_threshold.get()),
            healthy_threshold: Some(settings.healthy_threshold.get()),
            health_checker: Some(self.probe.to_proto(self.at)),
        };
        ClusterHealthCheck {
            cluster_name: self.target.to_string(),
            health_checks: vec![health_check],
            locality_endpoints: vec![LocalityEndpoints { endpoints: vec![self.at.to_proto()] }],
        }
    }
}

impl Target {
    /// Whom the cluster of this name is about; none if it is not one of ours.
    pub(super) fn of_cluster(name: &str) -> Option<Self> {
        if name == READY {
            return Some(Self::Ready);
        }
        // A number has one form here: no sign and no zeros before it.
        let port = name.strip_prefix(INBOUND)?;
        let is_plain = port.starts_with(|c| matches!(c, '1'..='9'));
        port.parse().ok().filter(|_| is_plain).map(Self::Inbound)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbound(port) => write!(f, "{INBOUND}{port}"),
            Self::Ready => f.write_str(READY),
        }
    }
}

impl Place {
    fn to_proto(self) -> Endpoint {
        let socket_address =
            SocketAddress { address: self.address.to_string(), port_value: self.port.get().into() };
        Endpoint { address: Some(Address { socket_address: Some(socket_address) }) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port.get()).fmt(f)
    }
}

impl Probe {
    fn to_proto(&self, at: Place) -> HealthChecker {
        match self {
            Self::Tcp => HealthChecker::TcpHealthCheck(TcpHealthCheck {}),
            Self::Http(path) => HealthChecker::HttpHealthCheck(HttpHealthCheck {
                // An Envoy would send the cluster's name, which is no host: many
                // an application answers that with 400.
                host: at.to_string(),
                path: path.0.to_string(),
                expected_statuses: vec![PASSES],
            }),
        }
    }
}

impl HttpPath {
    /// Parses the value of `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|c| c.is_ascii_graphic());
        if text.starts_with('/') && visible && text.len() <= MAX_PATH {
            return Ok(Self(text.into()));
        }
        let problem = format!(
            "{}: must be a path that begins with '/', of at most {MAX_PATH} visible ASCII characters; \
             write others as %20",
            Quoted(text)
        );
        Err(Invalid::new(field, problem))
    }

    /// As it is requested.
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

    fn place(address: &str, port: u16) -> Place {
        Place { address: address.parse().unwrap(), port: NonZeroU16::new(port).unwrap() }
    }

    fn millis(millis: i64) -> prost_types::Duration {
        let nanos = i32::try_from(millis % 1_000 * 1_000_000).unwrap();
        prost_types::Duration { seconds: millis / 1_000, nanos }
    }

    /// A cluster as it is with the default settings.
    fn cluster(name: &str, address: &str, port: u32, checker: HealthChecker) -> ClusterHealthCheck {
        let socket_address = Some(SocketAddress { address: address.into(), port_value: port });
        ClusterHealthCheck {
            cluster_name: name.into(),
            health_checks: vec![HealthCheck {
                timeout: Some(millis(500)),
                interval: Some(millis(1_000)),
                unhealthy_threshold: Some(1),
                healthy_threshold: Some(1),
                no_traffic_interval: Some(millis(1_000)),
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
            Check { target: Target::Inbound(8080), at: place("127.0.0.1", 9080), probe: Probe::Http(path) },
            Check { target: Target::Inbound(8081), at: place("::1", 9081), probe: Probe::Tcp },
        ];
        let checks = Checks::new(inbounds, Some(place("::1", 9901)));
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
    fn where_there_is_nothing_to_check_reports_are_still_asked_for() {
        let specifier = Checks::default().specifier(&CheckSettings::default());
        assert_eq!(
            specifier,
            HealthCheckSpecifier { cluster_health_checks: vec![], interval: Some(millis(250)) }
        );
    }

    #[test]
    fn a_target_is_known_by_the_name_of_its_cluster() {
        for target in [Target::Inbound(1), Target::Inbound(65_535), Target::Ready] {
            assert_eq!(Target::of_cluster(&target.to_string()), Some(target));
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
            assert_eq!(Target::of_cluster(other), None, "{other}");
        }
    }
}
