//! TIFF files whose fields are formed, behind which the data is the input's.

#![no_main]

libfuzzer_sys::fuzz_target!(|tiff: fieldmark_fuzz::photo::Tiff| fieldmark_fuzz::photo::read(&tiff.bytes()));
