//! Equal things in one place in memory.

use std::sync::Arc;

/// Equality that does not read what is shared: one of a million names is not
/// in the processor's cache.
pub(super) fn same<T: ?Sized + Eq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// Takes over the memory of an equal, of a type whose clones share theirs.
pub(super) fn share<T: Clone + Eq>(mine: &mut T, other: &T) {
    if mine == other {
        mine.clone_from(other);
    }
}

/// The same for a list; of one that differs, `share_item` shares the parts of
/// each item.
pub(super) fn share_all<T: Eq>(
    mine: &mut Arc<[T]>,
    other: &Arc<[T]>,
    mut share_item: impl FnMut(&mut T, &[T]),
) {
    share(mine, other);
    // None if it is shared, by now or from before.
    for item in Arc::get_mut(mine).into_iter().flatten() {
        share_item(item, other);
    }
}
