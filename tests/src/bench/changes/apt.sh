# apt-get in a chroot of the base: what a Debian machine does today. It has no way back but another installation.
fill() {
    mkdir "$DISK/root"
    tar -xpf "$BASE_TAR" -C "$DISK/root"
}
enter() { furnish "$DISK/root"; }
apt() { DEBIAN_FRONTEND=noninteractive chroot "$DISK/root" apt-get --quiet=2 --yes "$@"; }
install() { apt install "$PAYLOAD/payload.deb"; }
remove() { apt purge payload; }
