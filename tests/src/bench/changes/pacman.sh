# pacman, into an otherwise empty root: Debian has the program and no packages for it. It checks no free space, for which
# it would need a list of mounts.
fill() {
    mkdir -p "$DISK/root/var/lib/pacman" "$DISK/root/var/cache/pacman/pkg"
    printf '[options]\nArchitecture = x86_64\nSigLevel = Never\nLocalFileSigLevel = Never\n' >"$DISK/pacman.conf"
}
enter() { furnish_tools; }
leave() { clear_tools; }
pacman() { chroot "$TOOLS" pacman --root "$DISK/root" --config "$DISK/pacman.conf" --noconfirm "$@"; }
install() { pacman -U "$PAYLOAD/payload.pkg.tar.zst"; }
remove() { pacman -R payload; }
