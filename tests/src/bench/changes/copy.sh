# The limit: a copy of the image and a hash of the copy. Neither cp nor sha256sum flushes.
fill() { mkdir "$DISK/store"; }
install() {
    cp "$PAYLOAD/layer.img" "$DISK/store/payload.img"
    sha256sum "$DISK/store/payload.img" >"$DISK/store/payload.sum"
}
remove() { rm "$DISK/store/payload.img" "$DISK/store/payload.sum"; }
