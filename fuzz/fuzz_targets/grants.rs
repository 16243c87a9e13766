//! `cargo fuzz run grants`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::grants(bytes));
