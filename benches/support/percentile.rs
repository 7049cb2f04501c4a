//! Percentiles by the nearest-rank method.

/// The value at this percentile, 1 to 100.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    per_mille(sorted, percent * 10)
}

/// The value at this rank of a thousand: 999 is p99.9.
pub(crate) fn per_mille<T: Copy>(sorted: &[T], mille: usize) -> T {
    sorted[(sorted.len() * mille).div_ceil(1_000) - 1]
}
