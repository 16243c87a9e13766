//! `cargo fuzz run manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::manifest(bytes));
