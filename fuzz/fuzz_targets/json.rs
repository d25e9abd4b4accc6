//! JSON as Python writes it, against serde_json.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::text::json(data));
