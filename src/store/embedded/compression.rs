//! Compresses values. Registrations are many and have much in common: the names of labels and
//! tags, and the name of the workload, which a value contains several times and its key often
//! contains too. So the dictionary is a constant and the key, and each value is decompressed
//! alone.
//!
//! A compressed value is its length as a varint, and a block of LZ4. The length 0 means that the
//! value follows as it is, because it is empty or LZ4 would not make it shorter.

use std::borrow::Cow;

use lz4_flex::block::{compress_into_with_dict, decompress_into_with_dict, get_maximum_output_size};
use prost::encoding::{decode_varint, encode_varint};

/// What records often contain: names of labels and tags, with their lengths as in a record.
/// It is a part of the file format: after a change, files of the same format are damaged.
const DICTIONARY: &[u8] = b"topology.kubernetes.io/regiontopology.kubernetes.io/zonekubernetes.io/hostname\
    k8s.kuma.io/service-portk8s.kuma.io/service-namek8s.kuma.io/namespacekuma.io/sidecar-injection\
    kuma.io/envkuma.io/originkuma.io/meshkuma.io/zonegatewaycomponentenvironmentproductionstagingtier\
    trackreleaseteamversionapp.kubernetes.io/managed-by\x12\x04Helmapp.kubernetes.io/part-of\
    app.kubernetes.io/componentapp.kubernetes.io/instanceapp.kubernetes.io/name\
    app.kubernetes.io/versioncontroller-revision-hashstatefulset.kubernetes.io/pod-name\
    kuma.io/protocol\x12\x05http2kuma.io/protocol\x12\x03tcpkuma.io/protocol\x12\x04grpc\
    \x08\x90\x3f\x12\x04http\x1a\x18\n\x10kuma.io/protocol\x12\x04http\x1a\x0d\n\x0fkuma.io/service\
    \x12\x1a\x0d\n\x03app\x12\x1a\x10\n\x10kuma.io/workload\x12\x1a\x10\n\x11pod-template-hash\x12\x0a\
    2\x051.0.0:\x0c\x08";

/// The most bytes that one byte of a block of LZ4 stands for, so that a length that is wrong
/// can't reserve more memory than that.
const MAX_RATIO: usize = 255;

/// Compresses and decompresses the values of one file. Has the memory for it.
#[derive(Debug, Default)]
pub(super) struct Compression {
    dictionary: Vec<u8>,
    block: Vec<u8>,
}

impl Compression {
    /// Appends the compressed value of a key.
    pub(super) fn compress(&mut self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.set_key(key);
        self.block.resize(get_maximum_output_size(value.len()), 0);
        match compress_into_with_dict(value, &mut self.block, &self.dictionary) {
            Ok(length) if length < value.len() => {
                encode_varint(value.len() as u64, out);
                out.extend_from_slice(&self.block[..length]);
            }
            Ok(_) | Err(_) => {
                encode_varint(0, out);
                out.extend_from_slice(value);
            }
        }
    }

    /// Returns the value of a key; none if this is not a compressed value.
    pub(super) fn decompress<'a>(&mut self, key: &[u8], mut compressed: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let length = usize::try_from(decode_varint(&mut compressed).ok()?).ok()?;
        if length == 0 {
            return Some(compressed.into());
        }
        if length > compressed.len().saturating_mul(MAX_RATIO) {
            return None;
        }
        self.set_key(key);
        let mut value = vec![0; length];
        let decompressed = decompress_into_with_dict(compressed, &mut value, &self.dictionary).ok()?;
        (decompressed == length).then_some(value.into())
    }

    fn set_key(&mut self, key: &[u8]) {
        if self.dictionary.is_empty() {
            self.dictionary.extend_from_slice(DICTIONARY);
        }
        self.dictionary.truncate(DICTIONARY.len());
        self.dictionary.extend_from_slice(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const KEY: &[u8] = b"dataplanes/default/shop/backend-7-7d9c00007-0000700";
    const VALUE: &[u8] = b"\x1a\x10\n\x03app\x12\x09backend-7\x1a\x1d\n\x10kuma.io/workload\x12\x09backend-7\
        \x1a\x1e\n\x11pod-template-hash\x12\x097d9c00007";

    fn compressed(value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Compression::default().compress(KEY, value, &mut out);
        out
    }

    #[test]
    fn names_and_what_the_key_contains_take_few_bytes() {
        let length = compressed(VALUE).len();
        assert!(length * 2 < VALUE.len(), "{} bytes became {length}", VALUE.len());
    }

    /// Files have such values. If this fails, `format.rs` needs another format.
    #[test]
    fn what_was_stored_can_be_read() {
        let stored = b"Q\"\x1a\x10q\x00\x15\t$\x00D\x1a\x1d\n\x10\x97\x00\x05{\x00\x07\x1f\x00\x1f\x1e\x85\x00\x01\xa0\t7d9c00007";
        assert_eq!(Compression::default().decompress(KEY, stored).as_deref(), Some(VALUE));
    }

    #[test]
    fn earlier_keys_make_no_difference() {
        let mut compression = Compression::default();
        compression.compress(b"another key", VALUE, &mut Vec::new());
        let mut out = Vec::new();
        compression.compress(KEY, VALUE, &mut out);
        assert_eq!(out, compressed(VALUE));
        assert_eq!(compression.decompress(KEY, &out).as_deref(), Some(VALUE));
    }

    #[test]
    fn a_value_that_can_t_be_made_shorter_is_stored_as_it_is() {
        for value in [&b""[..], b"a", b"\xc3\x01\x98\x22\x17\x00\xfe\x7a"] {
            assert_eq!(compressed(value), [b"\0", value].concat());
        }
    }

    #[test]
    fn a_wrong_length_is_an_error_and_takes_no_memory() {
        let mut stored = Vec::new();
        encode_varint(1 << 60, &mut stored);
        stored.extend_from_slice(&compressed(VALUE)[1..]);
        assert_eq!(Compression::default().decompress(KEY, &stored), None);
        for length in [1, 50, 120, 127] {
            let mut stored = compressed(VALUE);
            stored[0] = length;
            assert_ne!(VALUE.len(), usize::from(length));
            assert_eq!(Compression::default().decompress(KEY, &stored), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(key in vec(any::<u8>(), 0..40), value in vec(0_u8..4, 0..3_000)) {
            let mut out = Vec::new();
            let mut compression = Compression::default();
            compression.compress(b"another", b"value", &mut Vec::new());
            compression.compress(&key, &value, &mut out);
            let back = compression.decompress(&key, &out);
            prop_assert_eq!(back.as_deref(), Some(&*value));
        }

        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
            if let Some(value) = Compression::default().decompress(KEY, &bytes) {
                prop_assert!(value.len() <= bytes.len() * MAX_RATIO);
            }
        }
    }
}
