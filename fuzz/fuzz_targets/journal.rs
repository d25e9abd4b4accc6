//! Journals of a run.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::run::journal(data));
