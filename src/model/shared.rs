//! Memory deduplication: equal values share one allocation.

use std::sync::Arc;

/// Compares pointers before contents: of a million names, few are in the processor's cache.
pub(super) fn same<T: ?Sized + Eq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// Replaces `mine` by a clone of `other` if they are equal, for types whose clones share memory.
pub(super) fn share<T: Clone + Eq>(mine: &mut T, other: &T) {
    if mine == other {
        mine.clone_from(other);
    }
}

/// Shares a whole list if both are equal. Otherwise `share_item` shares parts of each item of
/// `mine` with the items of `other`.
pub(super) fn share_all<T: Eq>(
    mine: &mut Arc<[T]>,
    other: &Arc<[T]>,
    mut share_item: impl FnMut(&mut T, &[T]),
) {
    share(mine, other);
    // `None` if the list is shared already, so that it must not change.
    for item in Arc::get_mut(mine).into_iter().flatten() {
        share_item(item, other);
    }
}
