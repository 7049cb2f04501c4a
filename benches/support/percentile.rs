//! What so many of a hundred, or of a thousand, values do not exceed.

pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    per_mille(sorted, percent * 10)
}

/// By nearest rank.
pub(crate) fn per_mille<T: Copy>(sorted: &[T], mille: usize) -> T {
    sorted[(sorted.len() * mille).div_ceil(1_000) - 1]
}
