//! The codecs of all services: prost with small buffers.
//!
//! tonic allocates one buffer per direction of each open stream, of 8 KiB by default. Most
//! messages here are below 100 bytes and most streams idle, so small buffers that grow on demand
//! reduce an idle multiplexed stream from 12 kB to 4 kB.

use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::Message;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Initial bytes of a stream's buffer: enough for a health report or an acknowledgement.
const INITIAL_BUFFER: usize = 128;
/// Bytes of queued messages that are passed to HTTP/2 at once: its default frame size.
const YIELD_THRESHOLD: usize = 16 * 1024;

/// A prost codec with small initial buffers.
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

/// A codec that does not decode incoming messages: for peers that repeat the same message, which
/// the server recognizes by its bytes.
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

/// The decoder of [`RawCodec`].
///
/// A message is a slice of the stream's buffer, which tonic reuses once no slice of it is left.
/// An Envoy's first message has 61 kB and all later ones about a hundred bytes, so the large
/// buffer would stay for weeks. The decoder therefore retains the last message until the next:
/// tonic finds the buffer in use, allocates one of the size it needs, and the large one is freed.
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
    async fn messages_are_not_decoded() {
        let sizes = [61_345, 78, 0, 515];
        let messages: Vec<_> = streaming(sizes.into_iter()).map(Result::unwrap).collect().await;
        assert_eq!(messages, sizes.map(|size| vec![7; size]));
    }

    #[tokio::test]
    async fn the_buffer_of_a_large_first_message_is_freed() {
        for (size, count) in [(0, 4_000), (78, 300), (78, 500), (515, 50), (515, 100)] {
            let mut stream = streaming(iter::once(61_345).chain(iter::repeat_n(size, count)));
            for _ in 0..count {
                // Dropped before the next message arrives.
                drop(stream.next().await);
            }
            let last = stream.next().await.unwrap().unwrap();
            drop(stream);
            // The only owner of a buffer can see its whole capacity.
            let buffer = last.try_into_mut().unwrap().capacity();
            assert!(buffer < 4_096, "{buffer} bytes after {count} messages of {size}");
        }
    }
}
