//! Programs of pickle in a sound archive.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::checkpoint::pickle(data));
