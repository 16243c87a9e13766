//! `cargo fuzz run trust`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::trust(bytes));
