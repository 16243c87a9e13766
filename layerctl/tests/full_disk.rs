//! `build` where the disk is full, and where it has no inode left.

use crate::build::{script, shell_base};
use crate::world::World;

/// What is built, on a disk of which size or with a dozen inodes left, and what is said of it.
const CASES: [(&str, &str, &str); 7] = [
    // The tree is copied where it does not say which systems it fits.
    ("big --name big --version 1", "size=2m", "error: copy "),
    ("big --name big --version 1 --format erofs", "size=4m", "error: mkfs.erofs failed: "),
    ("big --name big --version 1 --format squashfs", "size=4m", "error: mksquashfs failed: "),
    ("big --name big --version 1", "inodes", "error: copy "),
    ("big.tar --name big --version 1", "inodes", "error: tar failed: "),
    ("script.toml", "size=4m", "error: /bin/sh failed:\n"),
    ("script.toml", "inodes", "error: create "),
];

/// Builds on a disk that is too small, and once more when there is room; prints what is said the first time.
const ON_DISK: &str = r#"
exec 2>&1; count=9999; if test $options = inodes; then options=size=64m; count=$(($(find state | wc -l) + 12)); fi
mount -t tmpfs -o $options,nr_inodes=$count none disk; cp -a state disk/
list() { find disk -not -name lock -type f -exec sha256sum {} + | sort; find disk | sort; }; list >before
status=0; layerctl --root disk/state build $words -o disk/x.img || status=$?; test $status = 1
list | cmp before -
! grep " $PWD/disk/" /proc/self/mountinfo
mount -o remount,size=64m,nr_inodes=9999 disk
layerctl --root disk/state --quiet build $words -o disk/x.img
rm disk/x.img disk/x.toml; list | cmp before -
"#;

#[test]
fn a_build_on_a_full_disk_is_refused_and_leaves_nothing() {
    let world = World::with_base();
    shell_base(&world, "shell");
    let fill = "busybox dd if=/dev/zero of=/etc/x bs=1M count=9
        for name in a b c d e f g h i j k l m n o p; do echo x >/etc/$name; done\n";
    script(&world, "script", "shell", fill);
    world.shell(
        "mkdir -p big/etc disk; head -c 3000000 /dev/urandom >big/etc/x
         for name in a b c d e f g h i j k l m n o p; do echo $name >big/etc/$name; done; tar -C big -cf big.tar .",
    );
    world.write("on-disk", ON_DISK);
    for (words, options, begin) in CASES {
        let said = world.shell(&format!(
            "export words='{words}' options={options}; unshare -m --propagation private sh -eu on-disk"
        ));
        assert!(said.starts_with(begin), "{words} {options}: {said}");
        assert!(said.contains("No space left on device"), "{words} {options}: {said}");
        let end = "\nnothing was changed\nhint: free space where it is written; in a store: layerctl cleanup\n";
        assert!(said.ends_with(end), "{words} {options}: {said}");
    }
}
