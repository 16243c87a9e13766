//! Mounts images in one way and no other, for measurements of what mounts cost: a static program for a guest.
//!
//! ```text
//! mounts squashfs|erofs loop|file AT IMAGE…      each at AT/0, AT/1, …
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a measurement's program ends with the first surprise"
)]

use std::fs;
use std::path::Path;

use layers::superblock::Format;
use layers::sys::{Backing, attach, image};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [format, backing, at, images @ ..] = words.as_slice() else {
        panic!("mounts squashfs|erofs loop|file AT IMAGE…")
    };
    let format = match format.as_str() {
        "squashfs" => Format::Squashfs,
        "erofs" => Format::Erofs,
        other => panic!("{other}"),
    };
    let backing = match backing.as_str() {
        "loop" => Backing::Loop,
        "file" => Backing::File,
        other => panic!("{other}"),
    };
    for (number, file) in images.iter().enumerate() {
        let at = Path::new(at).join(number.to_string());
        fs::create_dir_all(&at).unwrap();
        let mount = image(file.as_ref(), format, backing).unwrap();
        attach(&mount, &at).unwrap();
    }
}
