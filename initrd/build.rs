//! Linker arguments of the static program (lld's, the target's default linker): packed relocations (DT_RELR), no unwind
//! tables, one copy of functions that are the same.

#![expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=no-unwind.ld");
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    // The tests and the development build are dynamic and unwind.
    if features.split(',').any(|feature| feature == "crt-static") {
        let directory = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
        for argument in [
            "-Wl,-z,pack-relative-relocs",
            "-Wl,--no-eh-frame-hdr",
            // Functions of the same instructions are kept once: generic code has many. Nothing here compares their addresses.
            "-Wl,--icf=all",
            &format!("-Wl,-T,{directory}/no-unwind.ld"),
        ] {
            println!("cargo:rustc-link-arg-bin=layers-init={argument}");
        }
    }
}
