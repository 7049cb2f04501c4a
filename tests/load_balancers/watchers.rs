//! Watchers that are gone give their places back.

use std::time::Instant;

use crate::{
    IMMEDIATE,
    balancer::{Balancer, Configuration, Kind, Upstream},
    fixture::{Fixture, with_each_balancer},
    network_namespace::NetworkNamespace,
    support::{DEADLINE, Program, Server, Signal, headcount},
};

#[tokio::test]
async fn a_killed_watcher_gives_its_place_back_at_once() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let watcher = fixture.client("get workloads -w");
        fixture.server.wait_for_watchers(1).await;
        let start = Instant::now();
        watcher.signal(Signal::KILL);
        fixture.server.wait_for_watchers(0).await;
        fixture.print_time("a watcher is killed", start, IMMEDIATE);
    })
    .await;
}

/// The packets of the watcher's host are lost in both directions. nginx has no setting for this case.
#[tokio::test]
async fn a_watcher_whose_network_is_down_gives_its_place_back() {
    with_each_balancer(async |kind, program| {
        if kind == Kind::Nginx {
            return;
        }
        let Some(namespace) = NetworkNamespace::new() else { return };
        let server = Server::start("").await;
        let address = (namespace.outside, server.site.free_port().port()).into();
        let upstream = Upstream { grpc: server.grpc, http: server.http };
        let configuration = Configuration::of(kind);
        let _balancer = Balancer::start(&program, configuration, address, upstream, &server.site).await;
        let watch = headcount(&format!("get workloads -w --server {address}"));
        let _watcher = Program::start(&mut namespace.wrap(&watch));
        server.wait_for_watchers(1).await;

        let start = Instant::now();
        namespace.drop_link();
        server.wait_for_watchers(0).await;
        println!("{kind:?}: the network of a watcher is down: after {:.1?} of {DEADLINE:?}", start.elapsed());
    })
    .await;
}
