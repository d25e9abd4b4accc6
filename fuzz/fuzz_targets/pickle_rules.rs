//! Sound programs of pickle in every spelling, against the tensors that they were made of.

#![no_main]

libfuzzer_sys::fuzz_target!(|program: fieldmark_fuzz::pickle_program::Program| program.check());
