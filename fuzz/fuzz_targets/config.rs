//! config.json of transformers and open_clip.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::text::config(data));
