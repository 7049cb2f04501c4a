//! Files of an earlier format.

use redb::{Database, ReadableDatabase as _};

use super::{
    super::format::{ENTRIES, FORMAT, META},
    SimulatedDisk, commit, load, new_disk, open, put,
};

/// Its plain text is much longer than what is stored.
const VALUE: &str = "app.kubernetes.io/name app.kubernetes.io/name app.kubernetes.io/name";

fn set_format(disk: &SimulatedDisk, format: u64) {
    let database = Database::builder().create_with_backend(disk.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", &format.to_be_bytes()[..]).unwrap();
    transaction.commit().unwrap();
}

fn stored_bytes(disk: &SimulatedDisk, key: &str) -> usize {
    let database = Database::builder().create_with_backend(disk.clone()).unwrap();
    let entries = database.begin_read().unwrap().open_table(ENTRIES).unwrap();
    entries.get(key.as_bytes()).unwrap().unwrap().value().len()
}

#[test]
fn a_file_keeps_its_format() {
    for (format, fewer) in [(1, false), (FORMAT, true)] {
        let disk = new_disk(0);
        set_format(&disk, format);
        for life in ["a", "b"] {
            let store = open(&disk).unwrap();
            commit(&store, vec![put(life, VALUE)]).unwrap();
        }
        let items = load(&open(&disk).unwrap()).unwrap().items;
        let values: Vec<_> = items.iter().map(|item| (&*item.key, &*item.value)).collect();
        assert_eq!(values, [(&b"a"[..], VALUE.as_bytes()), (b"b", VALUE.as_bytes())]);
        for key in ["a", "b"] {
            assert_eq!(stored_bytes(&disk, key) < VALUE.len(), fewer, "{key} of format {format}");
        }
    }
}
