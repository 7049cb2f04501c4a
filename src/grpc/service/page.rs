//! How much one page of a listing contains.

use prost::Message;

/// The most bytes of a page's items. gRPC clients accept messages of 4 MiB by default; the
/// rest is for the token and for one item more than a client counts.
pub(super) const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;
/// The most bytes that precede an item in a message: its field's tag and its length.
const ITEM_HEADER: usize = 6;

/// The number of items in a page: as requested, at most 1,000, and 500 by default.
pub(super) fn page_size(requested: u32) -> usize {
    match requested {
        0 => 500,
        requested => requested.min(1_000) as usize,
    }
}

/// Takes items while they fit into [`MAX_PAGE_BYTES`]. The first one always fits, so that a
/// listing makes progress.
pub(super) fn within_page<T: Message>(items: impl Iterator<Item = T>) -> Vec<T> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for item in items {
        bytes += item.encoded_len() + ITEM_HEADER;
        if bytes > MAX_PAGE_BYTES && !page.is_empty() {
            break;
        }
        page.push(item);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sizes: &[usize]) -> usize {
        within_page(sizes.iter().map(|size| "x".repeat(*size))).len()
    }

    #[test]
    fn a_page_ends_before_the_item_that_does_not_fit() {
        let half = MAX_PAGE_BYTES / 2;
        assert_eq!(page(&[half - 64, half - 64, 1]), 3);
        assert_eq!(page(&[half, half + 1, 1]), 1, "no item is skipped");
        assert_eq!(page(&[]), 0);
    }

    #[test]
    fn the_first_item_always_fits() {
        assert_eq!(page(&[2 * MAX_PAGE_BYTES, 1]), 1);
    }
}
