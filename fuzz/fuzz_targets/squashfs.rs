//! `cargo fuzz run squashfs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::squashfs(bytes));
