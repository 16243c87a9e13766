# What the scripts of the peers have in common. Each has these verbs:
#   fill      put on the empty disk what is there before the change
#   enter     after the disk is mounted: mount what the programs need; leave undoes it
#   install, rollback, forward, remove: the changes; forward undoes rollback
#   reset     bring the disk back to what fill made of it
#
# DISK is the mounted disk, PAYLOAD a directory with the payload in every format, TOOLS a tree with the peers' programs,
# WORK the directory that all of these but TOOLS are in.

# Gives the tree $1 devices, processes and, at their own place, the payloads.
furnish() {
    mount --rbind /dev "$1/dev"
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount -t tmpfs tmpfs "$1/run"
    mkdir -p "$1$WORK/payloads"
    mount --bind "$WORK/payloads" "$1$WORK/payloads"
}

# Gives the tree of tools all that, and the disk.
furnish_tools() {
    furnish "$TOOLS"
    mkdir -p "$TOOLS$DISK"
    mount --bind "$DISK" "$TOOLS$DISK"
}

clear_tools() { umount -R "$TOOLS$DISK" "$TOOLS$WORK/payloads" "$TOOLS/run" "$TOOLS/sys" "$TOOLS/proc" "$TOOLS/dev"; }

enter() { :; }
leave() { :; }
forward() { :; }
reset() { :; }
