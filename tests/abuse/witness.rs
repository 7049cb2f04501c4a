//! A good client beside the bad ones: a proxy that changes its health again and
//! again, and a watch that must show each change.

use std::time::{Duration, Instant};

use headcount::proto::{
    HealthReport, HealthState, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message,
    session_response::Message as Answer,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::support::{DEADLINE, Server, dataplane, hello};

/// Works until it is told to stop.
pub(crate) struct Witness {
    stop: CancellationToken,
    work: JoinHandle<(Testimony, Proxy)>,
}

/// What it has seen.
#[derive(Debug)]
pub(crate) struct Testimony {
    /// Changes of health that it said and saw.
    pub(crate) changes: u64,
    /// The longest from saying one to its ack and to the watch that shows it.
    pub(crate) slowest: Duration,
}

impl Witness {
    /// Its proxy is let in, and its watch shows it.
    pub(crate) async fn start(server: &Server) -> Self {
        let mut watch = server.watch("witness").await;
        let mut proxy = Proxy::hello(server).await;
        watch.until(Some([1, 0, 1])).await;
        let stop = CancellationToken::new();
        let told = stop.clone();
        let work = tokio::spawn(async move {
            let mut seen = Testimony { changes: 0, slowest: Duration::ZERO };
            // It ends healthy.
            while !told.is_cancelled() || seen.changes.is_multiple_of(2) {
                seen.changes += 1;
                let start = Instant::now();
                proxy.change(seen.changes).await;
                watch.until(Some([1, u32::from(seen.changes % 2 == 1), 1])).await;
                seen.slowest = seen.slowest.max(start.elapsed());
            }
            (seen, proxy)
        });
        Self { stop, work }
    }

    /// Lets it finish its work. Its proxy stays, and is healthy.
    pub(crate) async fn end(self) -> (Testimony, Proxy) {
        self.stop.cancel();
        self.work.await.expect("a witness that saw all its changes")
    }
}

/// Its session, for as long as this is there.
pub(crate) struct Proxy {
    requests: mpsc::Sender<SessionRequest>,
    answers: Streaming<SessionResponse>,
}

impl Proxy {
    async fn hello(server: &Server) -> Self {
        let (requests, said) = mpsc::channel(1);
        let hello = hello(dataplane("default", "witness", "witness"));
        requests.try_send(SessionRequest { message: Some(hello) }).expect("room for one");
        let mut client = DataplaneServiceClient::new(server.connect().await);
        let answers = client.session(ReceiverStream::new(said)).await.expect("a session").into_inner();
        let mut proxy = Self { requests, answers };
        assert!(matches!(proxy.answer().await, Answer::Welcome(_)));
        proxy
    }

    /// Odd ones are ready.
    async fn change(&mut self, sequence: u64) {
        let state = if sequence % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
        let report = HealthReport { sequence, proxy: state.into(), ..HealthReport::default() };
        let report = SessionRequest { message: Some(Message::Health(report)) };
        self.requests.send(report).await.expect("an open session");
        match self.answer().await {
            Answer::Ack(ack) => assert_eq!(ack.sequence, sequence),
            other => panic!("{other:?} for an ack"),
        }
    }

    async fn answer(&mut self) -> Answer {
        let answer = timeout(DEADLINE, self.answers.message()).await.expect("an answer in time");
        answer.expect("an open session").and_then(|answer| answer.message).expect("an answer")
    }
}
