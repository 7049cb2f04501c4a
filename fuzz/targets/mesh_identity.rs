#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| headcount_fuzz::mesh_identity::check(input));
