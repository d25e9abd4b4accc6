//! Files of safetensors: whole, or a header's text.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::checkpoint::safetensors(data));
