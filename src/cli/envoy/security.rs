//! TLS and the token in a bootstrap. Types and fields have the names of Envoy's API.

use std::path::PathBuf;

use serde::Serialize;

use super::control_plane::{Host, Security, Tls};

/// Name of the secret with the token.
const TOKEN: &str = "headcount-token";

#[derive(Debug, Serialize)]
pub(super) struct TransportSocket {
    name: &'static str,
    typed_config: UpstreamTlsContext,
}

#[derive(Debug, Serialize)]
struct UpstreamTlsContext {
    #[serde(rename = "@type")]
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<String>,
    common_tls_context: CommonTlsContext,
}

#[derive(Debug, Serialize)]
struct CommonTlsContext {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tls_certificates: Vec<TlsCertificate>,
    validation_context: ValidationContext,
}

#[derive(Debug, Serialize)]
struct TlsCertificate {
    certificate_chain: DataSource,
    private_key: DataSource,
}

/// Without names to match, Envoy accepts any certificate of the CA.
#[derive(Debug, Serialize)]
struct ValidationContext {
    trusted_ca: DataSource,
    match_typed_subject_alt_names: [SubjectAltNameMatcher; 1],
}

#[derive(Debug, Serialize)]
struct SubjectAltNameMatcher {
    san_type: &'static str,
    matcher: StringMatcher,
}

#[derive(Debug, Serialize)]
struct StringMatcher {
    exact: String,
}

/// A file, which Envoy reads when it starts.
#[derive(Debug, Serialize)]
struct DataSource {
    filename: PathBuf,
}

#[derive(Debug, Serialize)]
pub(super) struct Secret {
    name: &'static str,
    generic_secret: GenericSecret,
}

#[derive(Debug, Serialize)]
struct GenericSecret {
    secret: DataSource,
}

#[derive(Debug, Serialize)]
pub(super) struct HttpFilter {
    name: &'static str,
    typed_config: FilterConfig,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum FilterConfig {
    Injector(CredentialInjector),
    Codec {
        #[serde(rename = "@type")]
        message: &'static str,
    },
}

#[derive(Debug, Serialize)]
struct CredentialInjector {
    #[serde(rename = "@type")]
    message: &'static str,
    overwrite: bool,
    credential: Extension,
}

#[derive(Debug, Serialize)]
struct Extension {
    name: &'static str,
    typed_config: Generic,
}

/// The value of the header is the content of the file, which Envoy trims. The server accepts a token without
/// `Bearer`, as Kuma does.
#[derive(Debug, Serialize)]
struct Generic {
    #[serde(rename = "@type")]
    message: &'static str,
    header: &'static str,
    credential: SdsSecretConfig,
}

/// A secret of the bootstrap itself.
#[derive(Debug, Serialize)]
struct SdsSecretConfig {
    name: &'static str,
}

impl TransportSocket {
    /// TLS to a server whose certificate has the given name.
    pub(super) fn of(Tls { ca, identity, server_name }: &Tls) -> Self {
        let (san_type, exact, sni) = match server_name {
            Host::Address(address) => ("IP_ADDRESS", address.to_string(), None),
            Host::Name(name) => ("DNS", name.clone(), Some(name.clone())),
        };
        let certificate = identity.as_ref().map(|[cert, key]| TlsCertificate {
            certificate_chain: DataSource { filename: cert.clone() },
            private_key: DataSource { filename: key.clone() },
        });
        Self {
            name: "envoy.transport_sockets.tls",
            typed_config: UpstreamTlsContext {
                message: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                sni,
                common_tls_context: CommonTlsContext {
                    tls_certificates: certificate.into_iter().collect(),
                    validation_context: ValidationContext {
                        trusted_ca: DataSource { filename: ca.clone() },
                        match_typed_subject_alt_names: [SubjectAltNameMatcher {
                            san_type,
                            matcher: StringMatcher { exact },
                        }],
                    },
                },
            },
        }
    }
}

/// The secrets of the bootstrap.
pub(super) fn secrets(security: &Security) -> Vec<Secret> {
    let secret = |file: &PathBuf| {
        let secret = DataSource { filename: file.clone() };
        Secret { name: TOKEN, generic_secret: GenericSecret { secret } }
    };
    security.token.iter().map(secret).collect()
}

/// The filters of the cluster, which add the token to each stream. Initial metadata would have to contain the
/// token itself.
pub(super) fn http_filters(security: &Security) -> Vec<HttpFilter> {
    if security.token.is_none() {
        return Vec::new();
    }
    let generic = Generic {
        message: "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic",
        header: "authorization",
        credential: SdsSecretConfig { name: TOKEN },
    };
    let injector = CredentialInjector {
        message: "type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
        overwrite: true,
        credential: Extension { name: "envoy.http.injected_credentials.generic", typed_config: generic },
    };
    let codec = FilterConfig::Codec {
        message: "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    };
    vec![
        HttpFilter {
            name: "envoy.filters.http.credential_injector",
            typed_config: FilterConfig::Injector(injector),
        },
        HttpFilter { name: "envoy.filters.http.upstream_codec", typed_config: codec },
    ]
}
