//! tokenizer.json, and texts that it then splits.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::text::tokenizer(data));
