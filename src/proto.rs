//! Generated code: what is on the wire. The reference documentation stands in
//! `proto/**/*.proto`.
#![allow(missing_docs, unused_qualifications, clippy::pedantic)]

tonic::include_proto!("headcount.v1");

pub mod codec;
pub mod envoy;

/// Descriptors of the whole surface, for server reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("headcount");

/// The services' side, in which a `Workload` is bytes that are encoded already
/// (see `build.rs`). All other messages are those of the parent module.
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/headcount.v1.rs"));
}

/// A message that is encoded already: many readers are sent the same bytes.
/// Nobody reads one of these, so it decodes as nothing.
#[derive(Debug, Clone, Default)]
pub struct Encoded(pub bytes::Bytes);

impl prost::Message for Encoded {
    fn encode_raw(&self, buf: &mut impl bytes::BufMut) {
        buf.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: prost::encoding::WireType,
        buf: &mut impl bytes::Buf,
        ctx: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        prost::encoding::skip_field(wire_type, tag, buf, ctx)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0 = bytes::Bytes::new();
    }
}
