//! A container image of busybox alone, as one file that `podman load`, `docker load` and `ctr images import` take.
//!
//! ```text
//! busybox → a tree → layer.tar ─┬→ IMAGE.tar
//!          its digest → config ─┤   manifest.json names the other two (Docker Image Specification 1.2,
//!                      manifest ┘   "Combined Image JSON + Filesystem Changeset Format")
//! ```

use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use crate::tools::find_program;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::Path;

/// The image's name and tag; one of no registry.
pub const NAME: &str = "localhost/busybox:test";

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ContainerImageError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Makes the image file at `image` from this machine's static busybox; `dir` is where it puts the parts.
///
/// In a container, `/bin/sh` is busybox's, all its applets are in `PATH`, and `/etc/origin` holds `origin`.
pub fn make(dir: &Path, origin: &str, image: &Path) -> Result<(), ContainerImageError> {
    let tree = dir.join("tree");
    files::make_empty_dir(&tree.join("bin"))?;
    files::make_dir(&tree.join("etc"))?;
    files::write(&tree.join("etc/origin"), origin)?;
    let busybox = find_program("busybox").unwrap_or_else(|| "busybox".into());
    files::copy(&busybox, &tree.join("bin/busybox"))?;
    // Relative links, since the tree is not at the top yet.
    let links = "for name in $(bin/busybox --list); do [ $name = busybox ] || ln -s busybox bin/$name; done";
    process::run(process::command("sh").args(["-c", links]).current_dir(&tree))?;

    let parts = dir.join("parts");
    files::make_empty_dir(&parts)?;
    let layer = parts.join("layer.tar");
    archive(&tree, &layer)?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&files::read(&layer)?))] },
    });
    let config = config.to_string();
    let name = format!("{}.json", digest(config.as_bytes()));
    files::write(&parts.join(&name), config)?;
    let manifest = json!([{ "Config": name, "RepoTags": [NAME], "Layers": ["layer.tar"] }]);
    files::write(&parts.join("manifest.json"), manifest.to_string())?;
    archive(&parts, image)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same bytes each time: names in order, times and owners of nobody's.
fn archive(dir: &Path, tar: &Path) -> Result<(), ContainerImageError> {
    let mut command = process::command("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    command.args(["--mode=u=rwX,go=rX", "--format=ustar", "-cf"]).arg(tar);
    // Without the top directory itself, which every container has.
    let names = files::list(dir)?;
    let names = names.iter().filter_map(|path| path.file_name());
    Ok(process::run(command.arg("-C").arg(dir).args(names))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_parts() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first.tar"), dir.path().join("second.tar"));
        make(dir.path(), "here\n", &first).unwrap();
        let parts = dir.path().join("parts");
        let read = |name: &str| files::read(&parts.join(name)).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
        let name = manifest[0]["Config"].as_str().unwrap();
        assert_eq!(name.strip_suffix(".json"), Some(digest(&read(name)).as_str()));
        let config: serde_json::Value = serde_json::from_slice(&read(name)).unwrap();
        let layer = format!("sha256:{}", digest(&read("layer.tar")));
        assert_eq!(config["rootfs"]["diff_ids"], json!([layer]));
        make(dir.path(), "here\n", &second).unwrap();
        assert!(files::read(&first).unwrap() == files::read(&second).unwrap(), "made twice alike");
    }
}
