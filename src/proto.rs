//! Generated protobuf messages, clients and servers. `proto/**/*.proto` documents them.
#![allow(missing_docs, unused_qualifications, clippy::pedantic, clippy::doc_lazy_continuation)]

tonic::include_proto!("headcount.v1");

pub mod codec;
pub mod envoy;
pub mod watch_stream;

/// The records of the data directory.
pub mod store {
    tonic::include_proto!("headcount.store.v1");

    impl std::fmt::Debug for SigningKey {
        /// Without the private key.
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
        }
    }
}

/// `Debug` of messages with a token, which could otherwise get into a log.
macro_rules! debug_without_token {
    ($($message:ident),*) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_token!(Credential, IssueDataplaneTokenResponse, IssueUserTokenResponse, RevokeTokenRequest);

/// Descriptors of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("headcount");

/// The servers, whose messages contain `Workload`s as pre-encoded bytes (see `build.rs`). All
/// other messages are those of the parent module.
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/headcount.v1.rs"));
}

/// A pre-encoded message, so that many readers can share its bytes. It is only ever sent;
/// decoding one yields an empty message.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_of_a_message_shows_no_token() {
        let token = || "secret".to_owned();
        let credential = Credential { token: token() };
        let session = SessionRequest { message: Some(session_request::Message::Credential(credential)) };
        for text in [
            format!("{session:?}"),
            format!("{:?}", IssueDataplaneTokenResponse { token: token() }),
            format!("{:?}", IssueUserTokenResponse { token: token() }),
            format!("{:?}", RevokeTokenRequest { token: token(), ..RevokeTokenRequest::default() }),
        ] {
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
