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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, iter};

    use futures_util::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic::Streaming;

    use super::*;

    /// A stream of messages of these sizes, as DATA frames of at most 16 KiB.
    fn streaming(sizes: impl Iterator<Item = usize>) -> Streaming<Bytes> {
        let message = |size: usize| {
            let length = u32::try_from(size).unwrap().to_be_bytes();
            [&[0], &length[..], &vec![7; size]].concat()
        };
        let frames: Vec<_> = sizes
            .flat_map(|size| message(size).chunks(16 * 1024).map(Bytes::copy_from_slice).collect::<Vec<_>>())
            .map(|data| Ok::<_, Infallible>(Frame::data(data)))
            .collect();
        let decoder = RawCodec::<()>::default().decoder();
        Streaming::new_request(decoder, StreamBody::new(stream::iter(frames)), None, None)
    }

    #[tokio::test]
    async fn what_comes_in_is_left_as_it_came() {
        let sizes = [61_345, 78, 0, 515];
        let messages: Vec<_> = streaming(sizes.into_iter()).map(Result::unwrap).collect().await;
        assert_eq!(messages, sizes.map(|size| vec![7; size]));
    }

    #[tokio::test]
    async fn a_large_first_message_does_not_stay_in_memory() {
        for (size, count) in [(0, 4_000), (78, 300), (78, 500), (515, 50), (515, 100)] {
            let mut stream = streaming(iter::once(61_345).chain(iter::repeat_n(size, count)));
            for _ in 0..count {
                // Gone before the next one comes.
                drop(stream.next().await);
            }
            let last = stream.next().await.unwrap().unwrap();
            drop(stream);
            // Whoever has the buffer alone sees all of it.
            let buffer = last.try_into_mut().unwrap().capacity();
            assert!(buffer < 4_096, "{buffer} bytes after {count} messages of {size}");
        }
    }
}
