//! What a watcher of the load reads of a delta: who, and how many. The rest is
//! skipped, so that a hundred watchers leave the processor to the server.

use headcount::proto::{WatchWorkloadsRequest, WorkloadRef, WorkloadStatus};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder},
    transport::Channel,
};
use tonic_prost::{ProstCodec, ProstEncoder};

const PATH: &str = "/headcount.v1.WorkloadService/WatchWorkloads";

/// `WatchWorkloadsResponse` without what nobody here needs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Heard {
    #[prost(bool, tag = "1")]
    pub(crate) reset: bool,
    #[prost(message, repeated, tag = "2")]
    pub(crate) upserted: Vec<Told>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) removed: Vec<WorkloadRef>,
    #[prost(bool, tag = "4")]
    pub(crate) synced: bool,
    #[prost(uint64, tag = "5")]
    pub(crate) revision: u64,
}

/// `Workload`, likewise.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Told {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "8")]
    pub(crate) status: Option<WorkloadStatus>,
}

/// Watches everything; each message comes with its size.
pub(crate) async fn watch(channel: Channel) -> anyhow::Result<Streaming<(Heard, usize)>> {
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let request = Request::new(WatchWorkloadsRequest::default());
    Ok(client.server_streaming(request, PathAndQuery::from_static(PATH), Ears).await?.into_inner())
}

/// The codec.
#[derive(Debug, Clone, Copy)]
struct Ears;

impl Codec for Ears {
    type Encode = WatchWorkloadsRequest;
    type Decode = (Heard, usize);
    type Encoder = ProstEncoder<WatchWorkloadsRequest>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<WatchWorkloadsRequest, ()>::default().encoder()
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Decoder for Ears {
    type Item = (Heard, usize);
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let size = bytes::Buf::remaining(message);
        let heard = Heard::decode(message).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some((heard, size)))
    }
}
