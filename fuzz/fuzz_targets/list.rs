//! Lists of prompts.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::text::list(data));
