//! Rows of an evaluation (Parquet).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::run::rows(data));
