//! The part of Envoy's bootstrap that headcount writes. Types and fields have the names of Envoy's API.

use std::net::SocketAddr;

use serde::Serialize;

use super::{
    admin::AdminAddress,
    control_plane::{ControlPlane, Host, Security},
    node::Node,
    security::{HttpFilter, Secret, TransportSocket, http_filters, secrets},
};

/// Name of the cluster of the headcount server, also in `/clusters` and in Envoy's statistics.
const CLUSTER: &str = "headcount";
/// Longest time for the TCP handshake. It allows for one lost SYN, which is retransmitted after 1 s.
const CONNECT_TIMEOUT: &str = "2s";
/// HTTP/2 keepalive, off by default in Envoy. Without it an Envoy does not detect a server that hangs or a
/// network failure, and its stream stays open. With it Envoy reconnects within 8 s (it adds up to 15 % to
/// the interval), like the agent.
const KEEPALIVE: Keepalive = Keepalive { interval: "5s", timeout: "2s" };

#[derive(Debug, Serialize)]
pub(super) struct Bootstrap {
    node: Node,
    admin: Admin,
    hds_config: ApiConfigSource,
    static_resources: StaticResources,
}

#[derive(Debug, Serialize)]
struct Admin {
    address: Address,
}

#[derive(Debug, Serialize)]
struct ApiConfigSource {
    api_type: &'static str,
    transport_api_version: &'static str,
    grpc_services: [GrpcService; 1],
}

#[derive(Debug, Serialize)]
struct GrpcService {
    envoy_grpc: EnvoyGrpc,
}

#[derive(Debug, Serialize)]
struct EnvoyGrpc {
    cluster_name: &'static str,
}

#[derive(Debug, Serialize)]
struct StaticResources {
    clusters: [Cluster; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<Secret>,
}

#[derive(Debug, Serialize)]
struct Cluster {
    name: &'static str,
    #[serde(flatten)]
    discovery: Discovery,
    connect_timeout: &'static str,
    load_assignment: ClusterLoadAssignment,
    typed_extension_protocol_options: ProtocolOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport_socket: Option<TransportSocket>,
}

/// The cluster's type. `LOGICAL_DNS` rather than `STRICT_DNS`, which makes an endpoint of each address of a
/// name and balances streams over them. The lookup family is `ALL` because by default Envoy uses only the
/// IPv6 addresses of a name that has any.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
enum Discovery {
    Static,
    LogicalDns { dns_lookup_family: &'static str },
}

#[derive(Debug, Serialize)]
struct ClusterLoadAssignment {
    cluster_name: &'static str,
    endpoints: [LocalityLbEndpoints; 1],
}

#[derive(Debug, Serialize)]
struct LocalityLbEndpoints {
    lb_endpoints: [LbEndpoint; 1],
}

#[derive(Debug, Serialize)]
struct LbEndpoint {
    endpoint: Endpoint,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    address: Address,
}

#[derive(Debug, Serialize)]
struct Address {
    socket_address: SocketAddress,
}

#[derive(Debug, Serialize)]
struct SocketAddress {
    address: String,
    port_value: u16,
}

#[derive(Debug, Serialize)]
struct ProtocolOptions {
    #[serde(rename = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions")]
    http: HttpProtocolOptions,
}

/// HTTP/2 without negotiation: gRPC requires it. Over TLS Envoy offers it by ALPN.
#[derive(Debug, Serialize)]
struct HttpProtocolOptions {
    #[serde(rename = "@type")]
    message: &'static str,
    explicit_http_config: ExplicitHttpConfig,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http_filters: Vec<HttpFilter>,
}

#[derive(Debug, Serialize)]
struct ExplicitHttpConfig {
    http2_protocol_options: Http2ProtocolOptions,
}

#[derive(Debug, Serialize)]
struct Http2ProtocolOptions {
    connection_keepalive: Keepalive,
}

#[derive(Debug, Serialize)]
struct Keepalive {
    interval: &'static str,
    timeout: &'static str,
}

impl Bootstrap {
    /// A bootstrap with one cluster, the server's, and no listeners.
    pub(super) fn new(
        node: Node,
        admin: AdminAddress,
        control_plane: &ControlPlane,
        security: &Security,
    ) -> Self {
        let grpc = GrpcService { envoy_grpc: EnvoyGrpc { cluster_name: CLUSTER } };
        Self {
            node,
            admin: Admin { address: Address::of(admin.listen_address()) },
            hds_config: ApiConfigSource {
                api_type: "GRPC",
                transport_api_version: "V3",
                grpc_services: [grpc],
            },
            static_resources: StaticResources {
                clusters: [Cluster::of(control_plane, security)],
                secrets: secrets(security),
            },
        }
    }
}

impl Cluster {
    fn of(ControlPlane { host, port }: &ControlPlane, security: &Security) -> Self {
        let (discovery, address) = match host {
            Host::Address(address) => (Discovery::Static, address.to_string()),
            Host::Name(name) => (Discovery::LogicalDns { dns_lookup_family: "ALL" }, name.clone()),
        };
        let address = Address { socket_address: SocketAddress { address, port_value: *port } };
        let endpoint = LbEndpoint { endpoint: Endpoint { address } };
        let http2 = Http2ProtocolOptions { connection_keepalive: KEEPALIVE };
        Self {
            name: CLUSTER,
            discovery,
            connect_timeout: CONNECT_TIMEOUT,
            load_assignment: ClusterLoadAssignment {
                cluster_name: CLUSTER,
                endpoints: [LocalityLbEndpoints { lb_endpoints: [endpoint] }],
            },
            typed_extension_protocol_options: ProtocolOptions {
                http: HttpProtocolOptions {
                    message: "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    explicit_http_config: ExplicitHttpConfig { http2_protocol_options: http2 },
                    http_filters: http_filters(security),
                },
            },
            transport_socket: security.tls.as_ref().map(TransportSocket::of),
        }
    }
}

impl Address {
    fn of(address: SocketAddr) -> Self {
        let socket_address = SocketAddress { address: address.ip().to_string(), port_value: address.port() };
        Self { socket_address }
    }
}
