//! Manifests of a data set.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::data_set::manifest(data));
