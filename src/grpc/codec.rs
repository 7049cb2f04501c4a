//! The codecs of all services: prost with small buffers.
//!
//! tonic keeps one buffer per direction of each open stream and starts them at
//! 8 KiB. Our messages are mostly below 100 bytes and our streams mostly idle,
//! so small buffers that grow on demand cut an idle multiplexed stream from
//! 12 kB to 4 kB.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Bytes a stream's buffer starts with: a health report or an ack with room to spare.
const INITIAL_BUFFER: usize = 128;
/// Bytes after which queued messages are handed to HTTP/2: its default frame size.
const YIELD_THRESHOLD: usize = 16 * 1024;

/// See the module's documentation.
#[derive(Debug, Clone, Copy)]
pub struct LeanCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for LeanCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for LeanCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(INITIAL_BUFFER, YIELD_THRESHOLD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(INITIAL_BUFFER, YIELD_THRESHOLD))
    }
}

/// Leaves what comes in as it came: for peers that say the same again and
/// again, which need not be decoded to be seen.
#[derive(Debug, Clone, Copy)]
pub struct RawCodec<T>(PhantomData<T>);

impl<T> Default for RawCodec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Send + 'static> Codec for RawCodec<T> {
    type Encode = T;
    type Decode = Bytes;
    type Encoder = ProstEncoder<T>;
    type Decoder = RawDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        LeanCodec::<T, ()>::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        RawDecoder::default()
    }
}

/// The half of [`RawCodec`] that reads.
///
/// A message's bytes lie in the stream's buffer, which tonic uses again when
/// nobody has them any more. But for its first message of 61 kB an Envoy says
/// some hundred bytes at a time, for weeks. So the last message is kept until
/// the next: tonic then finds its buffer in use, takes a new one of the size it
/// needs, and the large one is given back.
#[derive(Debug, Default)]
pub struct RawDecoder {
    last: Bytes,
}

impl Decoder for RawDecoder {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        self.last = source.copy_to_bytes(source.remaining());
        Ok(Some(self.last.clone()))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(INITIAL_BUFFER, YIELD_THRESHOLD)
    }
}
