//! preprocessor_config.json, and a small picture that is fitted by it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::text::preprocessor(data));
