#![no_main]

use std::collections::BTreeMap;

use headcount::proto::Hello;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use prost::Message as _;

fuzz_target!(|input: &[u8]| headcount_fuzz::hello::check(input));

// A changed byte seldom leaves a message with right lengths. So every other
// time one field is changed, and the lengths with it.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let seed = seed as usize;
    let hello = Hello::decode(&data[..size]).ok().filter(|_| !seed.is_multiple_of(2));
    let changed = hello.map(|hello| change(hello, seed / 2).encode_to_vec());
    match changed.filter(|changed| changed.len() <= max_size) {
        Some(changed) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});

fn change(mut hello: Hello, seed: usize) -> Hello {
    let dataplane = hello.dataplane.get_or_insert_default();
    let mut texts = vec![
        &mut hello.agent_version,
        &mut dataplane.mesh,
        &mut dataplane.namespace,
        &mut dataplane.name,
        &mut dataplane.zone,
        &mut dataplane.address,
    ];
    let mut maps = vec![&mut dataplane.labels];
    for inbound in &mut dataplane.inbounds {
        texts.push(&mut inbound.name);
        maps.push(&mut inbound.tags);
    }
    let which = seed % (texts.len() + maps.len());
    match which.checked_sub(texts.len()) {
        None => *texts[which] = changed(texts[which]),
        Some(which) => change_entry(maps[which], seed / 64),
    }
    hello
}

fn change_entry(map: &mut BTreeMap<String, String>, seed: usize) {
    let at = seed % (map.len() + 1);
    let (key, value) =
        map.iter().nth(at).map(|(key, value)| (key.clone(), value.clone())).unwrap_or_default();
    if seed.is_multiple_of(3) {
        map.remove(&key);
        map.insert(changed(&key), value);
    } else {
        map.insert(key, changed(&value));
    }
}

fn changed(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(text.len() + 16, 0);
    let most = bytes.len();
    let length = fuzzer_mutate(&mut bytes, text.len(), most);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
