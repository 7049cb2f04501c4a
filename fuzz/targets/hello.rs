#![no_main]

mod mutate;

use std::collections::BTreeMap;

use headcount::proto::Hello;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use prost::Message as _;

use mutate::{changed, mutate};

fuzz_target!(|input: &[u8]| headcount_fuzz::hello::check(input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed, |input, seed| {
        Some(change(Hello::decode(input).ok()?, seed).encode_to_vec())
    })
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
