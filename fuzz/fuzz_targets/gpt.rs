//! `cargo fuzz run gpt`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::gpt(bytes));
