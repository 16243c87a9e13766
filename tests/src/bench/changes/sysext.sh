# systemd-sysext: the image is copied to where it looks and merged into /usr at once. It has no generations.
fill() {
    mkdir "$DISK/root"
    tar -xpf "$BASE_TAR" -C "$DISK/root"
    mkdir -p "$DISK/root/var/lib/extensions"
}
enter() {
    # It looks into an image with mounts of its own, for which its root must be a mount.
    mount --bind "$DISK/root" "$DISK/root"
    furnish "$DISK/root"
}
leave() { chroot "$DISK/root" systemd-sysext unmerge; }
install() {
    cp "$PAYLOAD/sysext.raw" "$DISK/root/var/lib/extensions/payload.raw"
    chroot "$DISK/root" systemd-sysext refresh
}
remove() {
    rm "$DISK/root/var/lib/extensions/payload.raw"
    chroot "$DISK/root" systemd-sysext refresh
}
