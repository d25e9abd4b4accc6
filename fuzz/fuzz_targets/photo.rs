//! Photos of every format, as bytes; the checksums of a PNG are mended after most mutations.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| fieldmark_fuzz::photo::read(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 4 != 0 {
        fieldmark_fuzz::photo::mend_png(&mut data[..size]);
    }
    size
});
