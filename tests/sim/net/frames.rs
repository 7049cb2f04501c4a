//! The frames of one direction of an HTTP/2 connection, for a proxy that answers PINGs.

/// Bytes of the client's connection preface.
const PREFACE: usize = 24;
/// Bytes of a frame's header: length, kind, flags, stream.
const HEADER: usize = 9;
/// Bytes of a whole PING.
const PING: usize = HEADER + 8;
const PING_KIND: u8 = 6;
const ACK: u8 = 1;

/// Follows the frames in the bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes left of the preface, or of a frame that is not a PING.
    skip: usize,
    /// The beginning of the frame in progress.
    frame: Vec<u8>,
}

impl Frames {
    /// The direction from a client.
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE, frame: Vec::new() }
    }

    /// Whether the bytes so far end with a whole frame.
    pub(super) fn are_whole(&self) -> bool {
        self.skip == 0 && self.frame.is_empty()
    }

    /// Reads more bytes; returns the acks of the PINGs among them.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut acks = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = if self.is_ping() { PING } else { HEADER };
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.frame.len()));
            self.frame.extend_from_slice(taken);
            bytes = rest;
            if self.frame.len() == PING {
                self.frame[4] |= ACK;
                acks.push(std::mem::take(&mut self.frame));
            } else if self.frame.len() == HEADER && !self.is_ping() {
                self.skip = u32::from_be_bytes([0, self.frame[0], self.frame[1], self.frame[2]]) as usize;
                self.frame.clear();
            }
        }
        acks
    }

    /// Whether the frame in progress is a PING that is not an ack.
    fn is_ping(&self) -> bool {
        self.frame.len() >= HEADER && self.frame[3] == PING_KIND && self.frame[4] & ACK == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn pings_are_found_however_the_bytes_are_split() {
        let ping = frame(PING_KIND, 0, b"12345678");
        let ack = frame(PING_KIND, ACK, b"12345678");
        let bytes =
            [&[b'P'; PREFACE][..], &frame(0, 0, b"data"), &ping, &ack, &frame(4, 0, b""), &ping].concat();
        for size in 1..bytes.len() {
            let mut frames = Frames::of_client();
            let acks: Vec<_> = bytes.chunks(size).flat_map(|chunk| frames.read(chunk)).collect();
            assert_eq!(acks, [ack.clone(), ack.clone()], "in chunks of {size}");
            assert!(frames.are_whole());
            frames.read(&ping[..12]);
            assert!(!frames.are_whole());
        }
    }
}
