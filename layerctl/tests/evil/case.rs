//! What an evil layer is, and what is said of it.

/// How an image is made of its tree.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// By mksquashfs.
    Squashfs,
    /// By mkfs.erofs.
    Erofs,
    /// By mkfs.erofs, with a socket at a path.
    Socket(&'static str),
    /// By mkfs.erofs, with a file of that name in /usr/bin.
    Name(&'static [u8]),
    /// By mkfs.erofs; then some bytes are replaced by as many others, wherever they are.
    Patched(&'static [u8], &'static [u8]),
}

/// What is said of it.
#[derive(Clone, Copy)]
pub(super) enum Says {
    /// A grant is missing, and with all that `lint --grants` prints it is taken.
    Grant(&'static str),
    /// No grant helps; the message has this.
    Nothing(&'static str),
}

/// One layer.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) name: &'static str,
    /// A shell's lines, in the tree.
    pub(super) tree: &'static str,
    /// Extended attributes: path, name, value.
    pub(super) marks: &'static [(&'static str, &'static str, &'static [u8])],
    /// What its manifest declares to delete.
    pub(super) deletes: &'static [&'static str],
    pub(super) how: How,
    pub(super) says: Says,
}

pub(super) const fn case(name: &'static str, how: How, tree: &'static str, says: Says) -> Case {
    Case { name, tree, marks: &[], deletes: &[], how, says }
}

pub(super) const fn marked(
    name: &'static str,
    how: How,
    marks: &'static [(&'static str, &'static str, &'static [u8])],
    says: Says,
) -> Case {
    Case { name, tree: "echo x >usr/bin/x; mkdir -p opt/d", marks, deletes: &[], how, says }
}

pub(super) const fn deleting(
    name: &'static str,
    tree: &'static str,
    marks: &'static [(&'static str, &'static str, &'static [u8])],
    deletes: &'static [&'static str],
    says: Says,
) -> Case {
    Case { name, tree, marks, deletes, how: How::Squashfs, says }
}
