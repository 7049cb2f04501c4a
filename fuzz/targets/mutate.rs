//! Mutations of fields within an encoded message: a change of raw bytes usually breaks a length, and
//! the rest of the message with it.

use libfuzzer_sys::fuzzer_mutate;

/// Every other time the input becomes what `within` returns for it and the seed. Otherwise, and if
/// `within` returns none, libFuzzer changes its bytes.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    within: impl FnOnce(&[u8], usize) -> Option<Vec<u8>>,
) -> usize {
    let seed = seed as usize;
    let changed = if seed.is_multiple_of(2) { None } else { within(&data[..size], seed / 2) };
    match changed.filter(|changed| changed.len() <= max_size) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
}

/// A text with a change by libFuzzer.
pub fn changed(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + 16, 0);
    let most = bytes.len();
    let length = fuzzer_mutate(&mut bytes, text.len(), most);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
