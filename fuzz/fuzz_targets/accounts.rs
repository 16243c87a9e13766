//! `cargo fuzz run accounts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::accounts(bytes));
