//! gRPC requests: HPACK without its dynamic table, and length-prefixed messages.

use prost::Message;

pub(crate) const SESSION: &str = "/headcount.v1.DataplaneService/Session";
pub(crate) const WATCH: &str = "/headcount.v1.WorkloadService/WatchWorkloads";

/// `:method: POST` and `:scheme: http`, from HPACK's static table.
const POST_HTTP: [u8; 2] = [0x83, 0x86];

/// Encodes the request headers of a call.
pub(crate) fn header_block(path: &str) -> Vec<u8> {
    [
        &POST_HTTP[..],
        &[0x04], // `:path`, from the static table
        &string(path),
        &literal("content-type", "application/grpc"),
        &literal("te", "trailers"),
    ]
    .concat()
}

/// Encodes a header that is not added to the dynamic table.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0x00], &string(name)[..], &string(value)].concat()
}

/// Encodes a string: its length as an HPACK integer with a 7-bit prefix, then its bytes.
fn string(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match u8::try_from(text.len()) {
        Ok(length) if length < 0x7f => bytes.push(length),
        _ => {
            bytes.push(0x7f);
            let mut rest = text.len() - 0x7f;
            while rest >= 0x80 {
                bytes.push(u8::try_from(rest & 0x7f).expect("7 bits") | 0x80);
                rest >>= 7;
            }
            bytes.push(u8::try_from(rest).expect("7 bits"));
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Encodes a length-prefixed gRPC message.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], &message.encode_to_vec()].concat()
}
