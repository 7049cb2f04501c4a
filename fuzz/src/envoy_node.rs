//! The first message of an Envoy is accepted if and only if it is valid; the accepted proxy equals the one
//! of the reference implementation, and its health check specifier follows the rules of
//! [`super::harmless`]; a rejection names an existing field.

mod reference;

use std::num::NonZeroU32;

use headcount::{
    envoy::{
        checks::{Check, CheckSettings, Checker, Interval, Target, Timeout},
        node::{self, Proxy},
    },
    model::{DataplaneLimits, Environment},
    proto::envoy::service::health::v3::{
        HealthCheckRequestOrEndpointHealthResponse,
        health_check_request_or_endpoint_health_response::RequestType,
    },
};
use prost::Message as _;

use self::reference::{Identity, ReferenceNode};
use super::{harmless::assert_harmless, rules};

/// Input: an encoded message.
pub fn check(input: &[u8]) {
    let read = node::read(input);
    let message = HealthCheckRequestOrEndpointHealthResponse::decode(input).ok();
    let Some(RequestType::HealthCheckRequest(request)) = message.and_then(|message| message.request_type)
    else {
        rules::assert_printable(&read.expect_err("not a node"));
        return;
    };
    let Some(node) = request.node else {
        rules::assert_printable(&read.expect_err("not a node"));
        return;
    };
    // Compared as bytes, because a NaN is not equal to itself.
    assert_eq!(read.map(|read| read.encode_to_vec()), Ok(node.encode_to_vec()));

    assert!(rules::is_short_text(node::unknown_proxy(&node).name(), 253), "{node:?}");
    let reference = ReferenceNode::new(&node);
    let accepted = Proxy::parse(&node, DataplaneLimits::default());
    let expected = reference.identity();
    assert_eq!(accepted.is_ok(), expected.is_some(), "{accepted:?}, of {node:?}");
    match (accepted, expected) {
        (Ok(proxy), Some(identity)) => {
            assert_represents(&proxy, &reference, &identity);
            for settings in settings() {
                let specifier = proxy.checks.specifier(&settings);
                assert_harmless(&specifier);
                assert_eq!(specifier.cluster_health_checks.len(), proxy.checks.iter().len());
            }
        }
        (Err(invalid), _) => {
            rules::assert_printable(&invalid);
            assert!(reference.fields().contains(&invalid.field), "{invalid}, of {node:?}");
        }
        (Ok(_), None) => unreachable!("both accept it or neither does"),
    }
}

/// The defaults, and the smallest and largest settings.
fn settings() -> [CheckSettings; 3] {
    let all = |interval, check_timeout, threshold| CheckSettings {
        check_interval: interval,
        check_timeout,
        report_interval: interval,
        unhealthy_threshold: threshold,
        healthy_threshold: threshold,
    };
    [
        CheckSettings::default(),
        all(Interval::MIN, Timeout::MIN, NonZeroU32::MIN),
        all(Interval::MAX, Timeout::MAX, NonZeroU32::MAX),
    ]
}

fn assert_represents(Proxy { dataplane, checks }: &Proxy, reference: &ReferenceNode, identity: &Identity) {
    let key = &dataplane.key;
    assert_eq!(key.mesh.as_str(), identity.mesh);
    assert_eq!(key.namespace.as_str(), identity.namespace);
    assert_eq!(key.name.as_str(), identity.name);
    assert_eq!(dataplane.environment == Environment::Kubernetes, identity.is_kubernetes);
    assert_eq!(dataplane.workload.as_ref().map(ToString::to_string), identity.workload);
    assert_eq!(dataplane.zone.as_ref().map(ToString::to_string), identity.zone);
    assert_eq!(*dataplane.agent_version, identity.agent_version);
    let labels = dataplane.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(labels.collect::<Vec<_>>(), reference.labels().into_iter().collect::<Vec<_>>());

    let mut checks = checks.iter();
    let inbounds = reference.inbounds();
    assert_eq!(dataplane.inbounds.len(), inbounds.len());
    for (inbound, expected) in dataplane.inbounds.iter().zip(inbounds) {
        assert_eq!((inbound.port, &*inbound.name), (expected.port, expected.name));
        let tags = inbound.tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags.collect::<Vec<_>>(), expected.tags().into_iter().collect::<Vec<_>>());
        let check = checks.next().expect("a check for each inbound");
        assert_eq!(check.target, Target::Inbound(expected.port));
        assert_check(check, expected.address, expected.service_port, expected.http_path);
    }
    let ready = checks.next();
    assert_eq!(ready.is_some(), reference.admin().is_some());
    if let (Some(ready), Some((address, port))) = (ready, reference.admin()) {
        assert_eq!(ready.target, Target::Ready);
        assert_check(ready, address, port, Some("/ready"));
    }
    assert!(checks.next().is_none());
}

fn assert_check(check: &Check, address: &str, port: u16, http_path: Option<&str>) {
    assert_eq!(Ok(check.endpoint.address), address.parse());
    assert_eq!(check.endpoint.port.get(), port);
    match &check.checker {
        Checker::Tcp => assert_eq!(http_path, None),
        Checker::Http(path) => assert_eq!(http_path, Some(path.as_str())),
    }
}
