# ostree: a commit of base and payload, and its deployment, which is what rpm-ostree does at the end of an installation.
ostree() { chroot "$TOOLS" ostree "$@"; }
repo="--repo=$DISK/sysroot/ostree/repo"
sysroot="--sysroot=$DISK/sysroot"
fill() {
    enter
    tree="$DISK/tree"
    mkdir "$tree" "$DISK/sysroot"
    tar -xpf "$BASE_TAR" -C "$tree"
    mv "$tree/etc" "$tree/usr/etc"
    # Devices are of no use in a commit, and /var belongs to the machine.
    rm -rf "$tree/dev" "$tree/run" "$tree/var" "$tree/boot"
    mkdir "$tree/dev" "$tree/run" "$tree/var" "$tree/boot" "$tree/sysroot"
    ostree admin "$sysroot" init-fs "$DISK/sysroot"
    ostree admin "$sysroot" os-init debian
    ostree config "$repo" set sysroot.bootloader none
    ostree commit "$repo" --branch=base --tree="dir=$tree"
    ostree admin "$sysroot" deploy --os=debian base
    rm -rf "$tree"
    leave
}
enter() { furnish_tools; }
leave() { clear_tools; }
install() {
    ostree commit "$repo" --branch=payload --tree=ref=base --tree="dir=$PAYLOAD/tree"
    ostree admin "$sysroot" deploy --os=debian payload
}
rollback() { ostree admin "$sysroot" set-default 1; }
forward() { ostree admin "$sysroot" set-default 1; }
remove() { ostree admin "$sysroot" deploy --os=debian base; }
reset() {
    ostree admin "$sysroot" undeploy 1
    ostree refs "$repo" --delete payload
    ostree prune "$repo" --refs-only
}
