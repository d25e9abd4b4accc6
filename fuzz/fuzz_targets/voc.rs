//! Annotations of VOC.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::data_set::voc(data));
