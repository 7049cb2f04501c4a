//! A watch that decodes only names and counts, so that a hundred watchers leave the CPU to the server.

use headcount::{
    net::client::Connection,
    proto::{WatchWorkloadsRequest, WorkloadFilter, WorkloadRef, WorkloadStatus},
};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

const PATH: &str = "/headcount.v1.WorkloadService/WatchWorkloads";

/// A `WatchWorkloadsResponse`, without the fields that the benchmarks do not need.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delta {
    #[prost(bool, tag = "1")]
    pub(crate) reset: bool,
    #[prost(message, repeated, tag = "2")]
    pub(crate) upserted: Vec<WorkloadCounts>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) removed: Vec<WorkloadRef>,
    #[prost(bool, tag = "4")]
    pub(crate) synced: bool,
    #[prost(uint64, tag = "5")]
    pub(crate) revision: u64,
}

/// A `Workload`, likewise.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WorkloadCounts {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "8")]
    pub(crate) status: Option<WorkloadStatus>,
}

/// Watches what a filter matches; returns each message with its size in bytes.
pub(crate) async fn watch(
    connection: Connection,
    filter: WorkloadFilter,
) -> anyhow::Result<Streaming<(Delta, usize)>> {
    let mut client = Grpc::new(connection);
    client.ready().await.map_err(anyhow::Error::from_boxed)?;
    let request =
        Request::new(WatchWorkloadsRequest { filter: Some(filter), ..WatchWorkloadsRequest::default() });
    Ok(client.server_streaming(request, PathAndQuery::from_static(PATH), LightCodec).await?.into_inner())
}

#[derive(Debug, Clone, Copy)]
struct LightCodec;

impl Codec for LightCodec {
    type Encode = WatchWorkloadsRequest;
    type Decode = (Delta, usize);
    type Encoder = ProstEncoder<WatchWorkloadsRequest>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<WatchWorkloadsRequest, ()>::default().encoder()
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Decoder for LightCodec {
    type Item = (Delta, usize);
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let size = bytes::Buf::remaining(message);
        let delta = Delta::decode(message).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some((delta, size)))
    }
}
