//! `cargo fuzz run command_line`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| layers_fuzz::command_line(bytes));
