# The project's own command, on a state file system with the base.
ours() { "$LAYERCTL" --root "$DISK" "$@"; }
fill() {
    ours init
    ours base import "$BASE_IMAGE" --name debian --version 13
}
install() { ours install "$PAYLOAD/layer.img"; }
rollback() { ours rollback; }
forward() { ours rollback "$(ls "$DISK/layerctl/generations" | sort -n | tail -n 1)"; }
remove() { ours uninstall payload; }
reset() { ours cleanup --keep 1; }
