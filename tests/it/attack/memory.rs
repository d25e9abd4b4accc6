//! Counts what a thread allocates: the largest piece shows whether memory was taken on a file's word.

#![allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        unsafe { System.dealloc(old, layout) }
    }
}

fn note(size: usize) {
    // A thread that ends has no counter any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

/// What `work` returns, and the largest piece of memory that this thread asked for meanwhile.
pub(crate) fn largest_piece<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LARGEST.replace(0);
    let result = work();
    (result, LARGEST.replace(before))
}

/// A photo of 40 megapixels has its maps measured within 16 bytes for each pixel: the photo has 3 of them, the map and the
/// mask 5.
#[cfg(feature = "evaluate")]
#[test]
fn metrics_take_little_beside_the_map_and_the_mask() {
    use fieldmark::{geometry::Rect, metric};
    const WIDTH: usize = 1024;
    const PIXELS: usize = WIDTH * 512;
    // All values differ, so that there are as many thresholds as pixels.
    let distinct: Vec<f32> = (0..PIXELS).map(|pixel| (pixel * 7919 % PIXELS) as f32).collect();
    let flat = vec![1.0; PIXELS];
    let mask: Vec<bool> = (0..PIXELS).map(|pixel| pixel % 3 == 0).collect();
    let checkered: Vec<bool> =
        (0..PIXELS).map(|pixel| pixel.is_multiple_of(2) && (pixel / WIDTH).is_multiple_of(2)).collect();
    let whole = [Rect { x0: 0.0, y0: 0.0, x1: WIDTH as f64, y1: 512.0 }];
    for map in [&distinct, &flat] {
        let bytes_of_a_pixel = [
            largest_piece(|| metric::average_precision(map, &mask)).1,
            largest_piece(|| metric::best_iou(map, &mask)).1,
            largest_piece(|| metric::pointing_game(map, &mask, WIDTH, 3.0)).1,
            largest_piece(|| metric::energy_pointing(map, &mask)).1,
        ];
        assert!(bytes_of_a_pixel.iter().all(|bytes| *bytes <= 4 * PIXELS), "{bytes_of_a_pixel:?}");
    }
    for found in [&mask, &checkered, &vec![true; PIXELS]] {
        let (_, piece) = largest_piece(|| {
            (metric::box_accuracy(found, WIDTH, &whole), metric::box_accuracy_v2(found, WIDTH, &whole))
        });
        assert!(piece <= PIXELS / 4, "{piece} bytes");
    }
}
