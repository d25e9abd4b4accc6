//! Descriptions of a run (run.json).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::run::description(data));
