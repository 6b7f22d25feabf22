//! A word to the cache: this will be read soon.

/// Asks for the cache lines of an item; of one that is not there, nothing.
#[inline]
pub fn read_ahead<T>(items: &[T], at: usize) {
    let Some(item) = items.get(at) else { return };
    #[cfg(target_arch = "x86_64")]
    for line in 0..size_of::<T>().div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(item).cast::<i8>().wrapping_add(line * 64);
        // SAFETY: a prefetch reads nothing that a program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}
