//! `cargo fuzz run generation`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::generation(bytes));
