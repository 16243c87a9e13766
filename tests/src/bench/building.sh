# How a layer is built with the project's command and without. WORK is an empty directory, TREE and BASE are trees,
# BASE_IMAGE is BASE as squashfs, PACKAGES and LISTS are caches, MKOSI is a tree with mkosi, SOURCES a file for apt.

# The tools alone, with the options that the command calls them with; the command flushes, they do not.
build_squashfs() { "$LAYERCTL" build "$TREE" --format squashfs --name tree --version 1 -o "$WORK/ours.img"; }
mksquashfs_alone() {
    mksquashfs "$TREE" "$WORK/alone.img" -noappend -no-exports -comp zstd -Xcompression-level 9 -quiet -no-progress
    sync "$WORK/alone.img"
}
build_erofs() { "$LAYERCTL" build "$TREE" --format erofs --name tree --version 1 -o "$WORK/ours.img"; }
mkfs_erofs_alone() {
    mkfs.erofs --quiet -zlz4 -C16384 "$WORK/alone.img" "$TREE"
    sync "$WORK/alone.img"
}
build_base() { "$LAYERCTL" build "$BASE" --kind base --name base --version 1 -o "$WORK/ours.img"; }
mksquashfs_base() {
    mksquashfs "$BASE" "$WORK/alone.img" -noappend -no-exports -comp zstd -Xcompression-level 9 -quiet -no-progress
    sync "$WORK/alone.img"
}

# A store with the base, as a machine has one.
prepare() {
    mkdir "$WORK/store" "$WORK/lists" "$WORK/packages"
    "$LAYERCTL" --root "$WORK/store" init
    "$LAYERCTL" --root "$WORK/store" base import "$BASE_IMAGE" --name debian --version 13
}

# A package, the lists fetched anew and the package taken from a cache.
build_package() {
    "$LAYERCTL" --root "$WORK/store" build --packages "$PACKAGE" --name package --version 1 --format squashfs \
        --sources "$SOURCES" --cache "$WORK/cache" -o "$WORK/ours.img"
}
apt_and_mksquashfs() {
    mkdir -p "$WORK/apt/base" "$WORK/apt/upper" "$WORK/apt/work" "$WORK/apt/root"
    cd "$WORK/apt"
    mount -o loop,ro "$BASE_IMAGE" base
    mount -t overlay -o lowerdir=base,upperdir=upper,workdir=work overlay root
    mount --rbind /dev root/dev
    mount -t proc proc root/proc
    mount --bind "$WORK/lists" root/var/lib/apt/lists
    mount --bind "$WORK/packages" root/var/cache/apt
    cp /etc/resolv.conf root/etc/resolv.conf
    cp "$SOURCES" root/etc/apt/sources.list
    chroot root apt-get --quiet=2 --yes update
    DEBIAN_FRONTEND=noninteractive chroot root apt-get --quiet=2 --yes --no-install-recommends install "$PACKAGE"
    umount -R root
    umount base
    cd "$WORK"
    mksquashfs apt/upper "$WORK/alone.img" -noappend -no-exports -comp zstd -Xcompression-level 9 -quiet -no-progress
    sync "$WORK/alone.img"
}
mkosi_sysext() {
    mkdir -p "$WORK/mkosi"
    cd "$WORK/mkosi"
    mkdir -p conf output workspace cache sandbox/etc/apt/sources.list.d
    cp "$DEB822" sandbox/etc/apt/sources.list.d/mkosi.sources
    cd conf
    PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$MKOSI/usr/lib/python3/dist-packages" /usr/bin/python3 -m mkosi --force \
        --distribution=debian --release=trixie --format=sysext --overlay=yes --base-tree="$BASE" \
        --package="$PACKAGE" --output=package --tools-tree="$MKOSI" --sandbox-tree="$WORK/mkosi/sandbox" \
        --output-directory="$WORK/mkosi/output" --workspace-directory="$WORK/mkosi/workspace" \
        --cache-directory="$WORK/mkosi/cache" --package-cache-directory="$MKOSI_PACKAGES" build
    sync "$WORK/mkosi/output/package.raw"
}

# What one of them left.
clean() {
    rm -rf "$WORK/ours.img" "$WORK/ours.toml" "$WORK/alone.img" "$WORK/apt" "$WORK/mkosi/output" "$WORK/mkosi/workspace"
    sync -f "$WORK"
}
