//! Resizing, against a plain loop.

#![no_main]

libfuzzer_sys::fuzz_target!(|case: fieldmark_fuzz::resize::Case| case.check());
