//! Changes that leave a message with right lengths, of which a changed byte
//! seldom does.

use libfuzzer_sys::fuzzer_mutate;

/// Every other time the input is what `within` makes of it and of the seed, with
/// something changed inside; else, and where that gives nothing, bytes change.
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

/// A text with something changed in it.
pub fn changed(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + 16, 0);
    let most = bytes.len();
    let length = fuzzer_mutate(&mut bytes, text.len(), most);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
