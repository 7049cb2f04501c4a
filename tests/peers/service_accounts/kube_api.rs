//! What the server asks kube-apiserver for: the keys of the cluster, and reviews of tokens.

use std::{
    convert::Infallible,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::keys::ISSUER;
use crate::{
    pki::{Authority, Pair},
    support::Site,
};

/// A stand-in for kube-apiserver.
pub(super) struct KubeApi {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

struct State {
    keys: Vec<Value>,
    reviews: Reviews,
    /// The latest rejection of each token.
    rejected: Vec<(String, Instant)>,
}

/// What happens to reviews of tokens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reviews {
    Accept,
    Reject,
    /// The server's own account has no right to them.
    Forbid,
    /// There is no response.
    Ignore,
}

impl KubeApi {
    /// Starts at the address of a site, with these keys. All reviews are accepted.
    pub(super) async fn start(site: &Site, keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind(site.any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Authority::new();
        site.file("kube-ca.crt", &authority.pem);
        site.file("own.token", "own-token");
        let acceptor = acceptor(&authority.server(&[&address.ip().to_string()]));
        let state = Arc::new(Mutex::new(State { keys, reviews: Reviews::Accept, rejected: Vec::new() }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let stream = TokioIo::new(acceptor.accept(stream).await.expect("a handshake"));
                    let service = service_fn(move |request| respond(Arc::clone(&state), request));
                    // It ends with the client.
                    let _end =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
                });
            }
        });
        Self { state, address, _task: AbortOnDropHandle::new(task) }
    }

    /// Writes an access file with which the server accepts the tokens of this cluster.
    pub(super) fn access_file(&self, site: &Site) -> String {
        let (ca, token) = (site.path("kube-ca.crt"), site.path("own.token"));
        let access = format!(
            "serviceAccountTokens: {{mesh: default, kubeApiServer: {{url: 'https://{}', caFile: {}, tokenFile: {}, \
             reviewInterval: 1s}}}}",
            self.address,
            ca.display(),
            token.display()
        );
        site.file("access.yaml", &access).display().to_string()
    }

    /// Publishes these keys from now on.
    pub(super) fn publish(&self, keys: Vec<Value>) {
        self.state().keys = keys;
    }

    /// Treats reviews like this from now on.
    pub(super) fn reviews(&self, reviews: Reviews) {
        self.state().reviews = reviews;
    }

    /// When the review of a token was last rejected.
    pub(super) fn rejected_at(&self, token: &str) -> Option<Instant> {
        let state = self.state();
        state.rejected.iter().rev().find(|(rejected, _)| rejected == token).map(|(_, at)| *at)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn acceptor(Pair { cert, key }: &Pair) -> TlsAcceptor {
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![cert], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config).into()
}

async fn respond(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["authorization"], "Bearer own-token");
    let (status, body) = match request.uri().path() {
        "/.well-known/openid-configuration" => (200, json!({ "issuer": ISSUER })),
        "/openid/v1/jwks" => (200, json!({ "keys": state.lock().unwrap().keys })),
        "/apis/authentication.k8s.io/v1/tokenreviews" => {
            let review = request.into_body().collect().await.expect("a body").to_bytes();
            let review: Value = serde_json::from_slice(&review).expect("a review");
            assert_eq!(review["spec"]["audiences"], json!(["headcount"]));
            let token = review["spec"]["token"].as_str().expect("a token").to_owned();
            match decide(&state, token) {
                Reviews::Accept => (201, json!({"status": {"authenticated": true}})),
                Reviews::Reject => (201, json!({"status": {"error": "the Pod was deleted"}})),
                Reviews::Forbid => (403, json!({"message": "tokenreviews is forbidden"})),
                Reviews::Ignore => pending().await,
            }
        }
        path => panic!("unexpected request of {path}"),
    };
    let response = Response::builder().status(status);
    Ok(response.body(body.to_string().into()).expect("a response"))
}

fn decide(state: &Mutex<State>, token: String) -> Reviews {
    let mut state = state.lock().unwrap();
    if let Reviews::Reject = state.reviews {
        state.rejected.push((token, Instant::now()));
    }
    state.reviews
}
