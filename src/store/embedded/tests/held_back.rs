//! The storage that holds writes back, against a file in memory.

use redb::StorageBackend as _;

use super::{super::held_back::HeldBack, simulated_disk::SimulatedDisk};

fn read(storage: &HeldBack, offset: usize, length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0xee; length];
    storage.read(offset as u64, &mut out).ok().map(|()| out)
}

#[test]
fn reads_see_what_is_held_back_and_a_release_writes_it() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimulatedDisk::new(seed);
        let mut expected: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(..)).collect();
        disk.storage().write(0, &expected).unwrap();
        let before = disk.bytes();
        let storage = HeldBack::new(disk.storage()).unwrap();
        for _ in 0..random.usize(0..12) {
            let (offset, length) = (random.usize(0..80), random.usize(0..30));
            match random.u32(0..4) {
                0 => {
                    storage.set_len(offset as u64).unwrap();
                    expected.resize(offset, 0);
                }
                1 => storage.sync_data().unwrap(),
                _ => {
                    let data = vec![random.u8(..); length];
                    storage.write(offset as u64, &data).unwrap();
                    expected.resize(expected.len().max(offset + length), 0);
                    expected[offset..offset + length].copy_from_slice(&data);
                }
            }
            assert_eq!(storage.len().unwrap(), expected.len() as u64, "seed {seed}");
            let (offset, length) = (random.usize(0..80), random.usize(0..40));
            let part = expected.get(offset..offset + length).map(<[u8]>::to_vec);
            assert_eq!(read(&storage, offset, length), part, "seed {seed}");
            assert_eq!(disk.bytes(), before, "seed {seed}");
        }
        storage.release().unwrap();
        assert_eq!(disk.bytes(), expected, "seed {seed}");
        storage.write(3, b"through").unwrap();
        assert_eq!(disk.bytes()[3..10], *b"through");
    }
}
