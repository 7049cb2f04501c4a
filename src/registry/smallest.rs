//! Selects the smallest values of a long sequence without sorting all of it.

use std::collections::BinaryHeap;

/// Keeps the smallest values that it was offered, at most a given number of them. Of N
/// values each costs one comparison if it is not kept, and about log(number) if it is.
#[derive(Debug)]
pub(crate) struct Smallest<T> {
    /// The greatest of the kept values is on top.
    kept: BinaryHeap<T>,
    most: usize,
}

impl<T: Ord> Smallest<T> {
    /// Keeps at most `most` values.
    pub(crate) fn new(most: usize) -> Self {
        Self { kept: BinaryHeap::new(), most }
    }

    /// Whether a value would be kept. To be called before a value is cloned.
    pub(crate) fn admits(&self, value: &T) -> bool {
        self.kept.len() < self.most || self.kept.peek().is_some_and(|greatest| value < greatest)
    }

    /// Keeps a value that [`Smallest::admits`]; the greatest one leaves if there is one
    /// too many.
    pub(crate) fn insert(&mut self, value: T) {
        if self.kept.len() < self.most {
            self.kept.push(value);
        } else if let Some(mut greatest) = self.kept.peek_mut() {
            *greatest = value;
        }
    }

    /// The kept values, smallest first.
    pub(crate) fn into_sorted(self) -> Vec<T> {
        self.kept.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cmp::Ordering};

    use super::*;

    /// A number that counts its comparisons.
    #[derive(Debug, Clone)]
    struct Counted<'a>(u32, &'a Cell<u64>);

    impl Ord for Counted<'_> {
        fn cmp(&self, other: &Self) -> Ordering {
            self.1.set(self.1.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted<'_> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    /// Selects from these numbers; returns the result, the comparisons and the clones.
    fn select(numbers: &[u32], most: usize) -> (Vec<u32>, u64, u64) {
        let (comparisons, mut clones) = (Cell::new(0), 0);
        let mut smallest = Smallest::new(most);
        for number in numbers {
            let value = Counted(*number, &comparisons);
            if smallest.admits(&value) {
                clones += 1;
                smallest.insert(value.clone());
            }
        }
        let selected = smallest.into_sorted().into_iter().map(|Counted(number, _)| number).collect();
        (selected, comparisons.get(), clones)
    }

    #[test]
    fn the_smallest_are_selected_in_order() {
        let mut numbers: Vec<u32> = (0..1_000).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut numbers);
        for most in [0, 1, 2, 999, 1_000, 1_001] {
            let expected: Vec<_> = (0..1_000).take(most).collect();
            assert_eq!(select(&numbers, most).0, expected, "{most}");
        }
    }

    #[test]
    fn of_many_values_in_random_order_few_are_cloned_and_most_are_compared_once() {
        let mut numbers: Vec<u32> = (0..200_000).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut numbers);
        let (_, comparisons, clones) = select(&numbers, 500);
        // The k-th value is among the 500 smallest so far with probability 500/k.
        assert!(clones < 5_000, "{clones}");
        assert!(comparisons < 200_000 + 5_000 * 20, "{comparisons}");
    }

    #[test]
    fn the_worst_order_costs_a_logarithm_of_the_number_selected() {
        let descending: Vec<u32> = (0..100_000).rev().collect();
        let (selected, comparisons, _) = select(&descending, 500);
        assert_eq!(selected, (0..500).collect::<Vec<_>>());
        // Two comparisons for each level of the heap, 9 levels, and one to admit the value.
        assert!(comparisons < 100_000 * (2 * 9 + 2), "{comparisons}");
    }
}
