//! Annotations of COCO.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::data_set::coco(data));
