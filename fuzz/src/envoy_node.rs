//! The first message of an Envoy is taken if and only if it is lawful; what was
//! taken says what was said, and asks for checks that hurt no Envoy; a refusal
//! names a field that is there.

mod law;

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

use self::law::{Identity, Statement};
use super::{harmless::assert_harmless, rules};

/// Takes a message as it is on the wire.
pub fn check(input: &[u8]) {
    let read = node::read(input);
    let said = HealthCheckRequestOrEndpointHealthResponse::decode(input).ok();
    let Some(RequestType::HealthCheckRequest(request)) = said.and_then(|said| said.request_type) else {
        rules::assert_fit(&read.expect_err("it is no node"));
        return;
    };
    let Some(node) = request.node else {
        rules::assert_fit(&read.expect_err("it is no node"));
        return;
    };
    // As bytes: a NaN is not equal to itself.
    assert_eq!(read.map(|read| read.encode_to_vec()), Ok(node.encode_to_vec()));

    assert!(rules::is_short_text(node::unknown_proxy(&node).name(), 253), "{node:?}");
    let statement = Statement::of(&node);
    let taken = Proxy::parse(&node, DataplaneLimits::default());
    let lawful = statement.is_lawful();
    assert_eq!(taken.is_ok(), lawful.is_some(), "{taken:?}, of {node:?}");
    match (taken, lawful) {
        (Ok(proxy), Some(identity)) => {
            assert_says(&proxy, &statement, &identity);
            for settings in settings() {
                let specifier = proxy.checks.specifier(&settings);
                assert_harmless(&specifier);
                assert_eq!(specifier.cluster_health_checks.len(), proxy.checks.iter().len());
            }
        }
        (Err(invalid), _) => {
            rules::assert_fit(&invalid);
            assert!(statement.fields().contains(&invalid.field), "{invalid}, of {node:?}");
        }
        (Ok(_), None) => unreachable!("both agree"),
    }
}

/// The usual ones and the ends of what can be set.
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

fn assert_says(Proxy { dataplane, checks }: &Proxy, statement: &Statement, identity: &Identity) {
    let key = &dataplane.key;
    assert_eq!(key.mesh.as_str(), identity.mesh);
    assert_eq!(key.namespace.as_str(), identity.namespace);
    assert_eq!(key.name.as_str(), identity.name);
    assert_eq!(dataplane.environment == Environment::Kubernetes, identity.is_kubernetes);
    assert_eq!(dataplane.workload.as_ref().map(ToString::to_string), identity.workload);
    assert_eq!(dataplane.zone.as_ref().map(ToString::to_string), identity.zone);
    assert_eq!(*dataplane.agent_version, identity.agent_version);
    let labels = dataplane.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(labels.collect::<Vec<_>>(), statement.labels().into_iter().collect::<Vec<_>>());

    let mut checks = checks.iter();
    let inbounds = statement.inbounds();
    assert_eq!(dataplane.inbounds.len(), inbounds.len());
    for (inbound, stated) in dataplane.inbounds.iter().zip(inbounds) {
        assert_eq!((inbound.port, &*inbound.name), (stated.port, stated.name));
        let tags = inbound.tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(tags.collect::<Vec<_>>(), stated.tags().into_iter().collect::<Vec<_>>());
        let check = checks.next().expect("a check for each inbound");
        assert_eq!(check.target, Target::Inbound(stated.port));
        assert_asks(check, stated.address, stated.service_port, stated.http_path);
    }
    let ready = checks.next();
    assert_eq!(ready.is_some(), statement.admin().is_some());
    if let (Some(ready), Some((address, port))) = (ready, statement.admin()) {
        assert_eq!(ready.target, Target::Ready);
        assert_asks(ready, address, port, Some("/ready"));
    }
    assert!(checks.next().is_none());
}

fn assert_asks(check: &Check, address: &str, port: u16, http_path: Option<&str>) {
    assert_eq!(Ok(check.endpoint.address), address.parse());
    assert_eq!(check.endpoint.port.get(), port);
    match &check.checker {
        Checker::Tcp => assert_eq!(http_path, None),
        Checker::Http(path) => assert_eq!(http_path, Some(path.as_str())),
    }
}
