//! The codec of all services: prost with small buffers.
//!
//! tonic keeps one buffer per direction of each open stream and starts them at
//! 8 KiB. Our messages are mostly below 100 bytes and our streams mostly idle,
//! so small buffers that grow on demand cut an idle multiplexed stream from
//! 12 kB to 4 kB.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
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
