//! `cargo fuzz run signature`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::signature(bytes));
