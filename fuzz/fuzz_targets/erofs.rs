//! `cargo fuzz run erofs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::erofs(bytes));
