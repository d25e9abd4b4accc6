//! Answers of a Hub over HTTP.

#![no_main]

libfuzzer_sys::fuzz_target!(|conversation: fieldmark_fuzz::hub::Conversation| fieldmark_fuzz::hub::converse(
    conversation
));
