//! An allocator that overwrites what is given back, so that no secret stays in memory which nobody owns any more.
//!
//! Types that hold a secret wipe themselves (`vault::key`), but what carries it to and fro does not: the buffers of the
//! HTTP server and clients, of TLS, of the JSON reader, and every vector that grows and leaves its old place behind. None
//! of them can be taught to; all of them get their memory here and give it back here. One pass over a block that is
//! freed is cheap beside what filled it.
//!
//! What this cannot do: buffers that are still owned (a connection that is kept open keeps its last bytes until it is
//! used again or closed), stacks and registers, the kernel's socket buffers, and pages that were swapped out.
#![allow(unsafe_code)] // `GlobalAlloc` is unsafe by nature; see the SAFETY notes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;

/// The system's allocator, wiping.
pub struct WipingAllocator;

// SAFETY: every call is handed on to the system's allocator with the same arguments, so its guarantees are ours. A block is
// written to only between the caller's giving it back and the system's taking it, when nobody else may touch it.
// `realloc` is the trait's own: a new block, a copy, and `dealloc` of the old one, which is wiped then; the system's own
// could move a block and leave its old place as it was.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back a block of this layout, which is ours to write to until it is freed.
        unsafe { block.write_bytes(0, layout.size()) };
        // SAFETY: no instruction at all. That it might read memory keeps the compiler from leaving out writes to a block
        // that is about to be freed.
        unsafe { asm!("/* {0} */", in(reg) block, options(nostack, preserves_flags)) };
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn a_block_that_grows_keeps_its_content() {
        let small = Layout::array::<u8>(8).expect("a layout");
        // SAFETY: blocks are used within their layouts and given back once.
        unsafe {
            let block = WipingAllocator.alloc(small);
            block.write_bytes(7, 8);
            let grown = WipingAllocator.realloc(block, small, 4096);
            assert_eq!(std::slice::from_raw_parts(grown, 8), [7; 8]);
            WipingAllocator.dealloc(grown, Layout::array::<u8>(4096).expect("a layout"));
        }
    }
}
