//! Layers from Debian's packages.

use tests::base::{Builder, Tree};
use tests::failure::Failure;
use tests::files;
use tests::packages::unpack;
use tests::workspace::Workspace;

#[test]
fn a_layer_has_its_program_and_what_the_base_lacks() -> Result<(), Failure> {
    let workspace = Workspace::here();
    let base = Tree::build(&workspace, Builder::Mmdebstrap)?;
    let layers = unpack(&workspace, &base, &["htop", "jq", "tree"])?;
    // jq's library comes with it; ncurses, which htop needs, is in the base or comes too.
    let expected = ["usr/bin/htop", "usr/bin/jq", "usr/bin/tree"];
    for (layer, program) in layers.iter().zip(expected) {
        assert!(files::is_file(&layer.tree.join(program)), "{program}");
        assert!(!files::exists(&layer.tree.join("usr/share/man")), "{program} has manual pages");
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+_~^-".contains(c);
        assert!(layer.version.chars().all(allowed), "{}", layer.version);
        let copyright = layer.tree.join("usr/share/doc").join(&layer.name).join("copyright");
        assert!(files::is_file(&copyright), "{}", copyright.display());
    }
    let jq = layers.get(1).map(|layer| files::walk(&layer.tree)).transpose()?.unwrap_or_default();
    assert!(jq.iter().any(|path| path.to_string_lossy().contains("libjq.so")), "{jq:?}");
    Ok(())
}
