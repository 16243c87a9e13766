//! Linker arguments of the static program: packed relocations (DT_RELR) and no unwind tables.

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
            &format!("-Wl,-T,{directory}/no-unwind.ld"),
        ] {
            println!("cargo:rustc-link-arg-bin=layers-init={argument}");
        }
    }
}
