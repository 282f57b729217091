//! An allocator that counts, for what a topic or a subscription costs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// The system's allocator; while somebody measures, it counts the bytes that are allocated.
#[derive(Debug)]
pub struct CountingAllocator;

/// Off while time is measured: a counter that all threads share would be part of every figure.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// Wraps around below zero where memory from before the count is freed.
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    if COUNTING.load(Relaxed) {
        BYTES.fetch_add(bytes, Relaxed);
    }
}

fn take(bytes: usize) {
    if COUNTING.load(Relaxed) {
        BYTES.fetch_sub(bytes, Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        take(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Counts from its making until it is dropped. One at a time.
#[derive(Debug)]
pub(crate) struct Count(());

impl Count {
    pub(crate) fn start() -> Self {
        BYTES.store(0, Relaxed);
        COUNTING.store(true, Relaxed);
        Self(())
    }

    /// Bytes allocated since the start and not freed; 0 if more was freed than allocated.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = BYTES.load(Relaxed);
        if bytes > usize::MAX / 2 { 0 } else { bytes }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        COUNTING.store(false, Relaxed);
    }
}
