//! Files of torch.save: archives, and the older form.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fieldmark_fuzz::checkpoint::pytorch(data));
