//! Arrays of NumPy.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::checkpoint::npy(data));
