//! A session is one request, whose body grows for as long as it is open.

use headcount::proto::{
    Dataplane, HealthReport, HealthState, Inbound, InboundHealth, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message as Request,
    session_response::Message as Response,
};
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    balancer::{Configuration, Kind},
    fixture::{Fixture, WORKLOAD, with_each_balancer},
    support::{DEADLINE, dataplane, hello},
};

/// nginx's default limit of a body.
const MEBIBYTE: usize = 1 << 20;

/// A session of the largest dataplane, with reports of 64 inbounds.
struct LargeSession {
    requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
    sent_bytes: usize,
}

impl LargeSession {
    async fn open(fixture: &Fixture) -> Self {
        let inbounds = ports().map(|port| Inbound { port, ..Inbound::default() }).collect();
        let dataplane = Dataplane { inbounds, ..dataplane("default", WORKLOAD, "large") };
        let (requests, stream) = mpsc::channel(8);
        requests.try_send(SessionRequest { message: Some(hello(dataplane)) }).unwrap();
        let mut client = DataplaneServiceClient::new(fixture.connect().await);
        let responses = client.session(ReceiverStream::new(stream)).await.unwrap().into_inner();
        let mut session = Self { requests, responses, sent_bytes: 0 };
        assert!(matches!(session.response().await, Ok(Response::Welcome(_))));
        session
    }

    /// Sends reports until they have this many bytes, each after the ack of the one before.
    async fn send_bytes(&mut self, bytes: usize) -> Result<(), Status> {
        for sequence in 1.. {
            let inbounds = ports().map(|port| InboundHealth { port, state: HealthState::Ready.into() });
            let (proxy, inbounds) = (HealthState::Ready.into(), inbounds.collect());
            let report = Request::Health(HealthReport { sequence, proxy, inbounds });
            let request = SessionRequest { message: Some(report) };
            self.sent_bytes += request.encoded_len();
            // If the stream has ended, the next response is its status.
            let _ended = self.requests.send(request).await;
            let response = self.response().await?;
            assert!(matches!(&response, Response::Ack(ack) if ack.sequence == sequence), "{response:?}");
            if self.sent_bytes > bytes {
                break;
            }
        }
        Ok(())
    }

    async fn response(&mut self) -> Result<Response, Status> {
        let response = timeout(DEADLINE, self.responses.message()).await.expect("a response in time")?;
        response.and_then(|response| response.message).ok_or_else(|| Status::ok("no error"))
    }
}

fn ports() -> impl Iterator<Item = u32> {
    60_001..=60_064
}

#[tokio::test]
async fn the_reports_of_a_session_may_exceed_a_mebibyte() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let mut session = LargeSession::open(&fixture).await;
        let sent = session.send_bytes(2 * MEBIBYTE).await;
        assert!(sent.is_ok(), "{kind:?}: after {} bytes: {sent:?}", session.sent_bytes);
        fixture.server.wait_for_counts(WORKLOAD, [1, 1, 1]).await;
    })
    .await;
}

/// The reason for the setting in the documented configuration.
#[tokio::test]
async fn nginx_ends_a_session_after_a_mebibyte_without_the_setting() {
    let Some(program) = Kind::Nginx.find() else { return };
    let configuration = Configuration::of(Kind::Nginx).with("client_max_body_size 0;", "");
    let fixture = Fixture::with_configuration(program, configuration, "").await;
    let mut session = LargeSession::open(&fixture).await;
    let end = session.send_bytes(2 * MEBIBYTE).await.unwrap_err();
    assert!(session.sent_bytes > MEBIBYTE / 10 * 9, "{}: {end}", session.sent_bytes);
    fixture.server.wait_for_counts(WORKLOAD, [0, 0, 1]).await;
}
