//! A tree of Debian's packages of mkosi(1), version 25 or newer, and of the programs that it calls, so that the machine needs
//! Python and nothing else of its own.

use crate::debian_tree;
use crate::files::FileError;
use crate::process::ProcessError;
use crate::sources::{RELEASE, Sources};
use crate::workspace::Workspace;
use std::path::PathBuf;

const TOOLS: &str = "mkosi,systemd,systemd-container,systemd-repart,squashfs-tools,erofs-utils,e2fsprogs,cpio,zstd,\
    xz-utils,kmod,debian-archive-keyring,apt,btrfs-progs,xfsprogs,dosfstools,mtools,python3,ca-certificates,\
    bubblewrap,uidmap";

/// The tree's directory; made now, or taken from the cache.
pub fn tools_tree<E: From<FileError> + From<ProcessError>>(
    workspace: &Workspace,
    sources: &Sources,
) -> Result<PathBuf, E> {
    debian_tree::build(workspace, sources, "mkosi-tools", TOOLS)
}

/// The sources in the format of deb822(5), as mkosi writes its own.
pub fn deb822(sources: &Sources) -> String {
    let stanza = |uri: &str, suites: &str| {
        format!(
            "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n\
             Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        )
    };
    let mut text = stanza(&sources.main, &format!("{RELEASE} {RELEASE}-updates"));
    if let Some(security) = &sources.security {
        text.push_str(&stanza(security, &format!("{RELEASE}-security")));
    }
    text
}
