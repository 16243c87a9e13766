//! Images of which every block is checked as it is read: by fs-verity, or by dm-verity over loop devices.

use crate::state::{BOOT, SYSTEMD, State, report, says};
use layers::store::cover;
use layers::trust::Verify;
use layers::verity;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem, Machine, Shell, make_disk};

/// Long enough for a thousand times a read of a small image, on a busy machine.
const MANY: Duration = Duration::from_secs(400);

/// Files with some blocks each, whose bytes do not compress, and one that says whose they are.
fn tree(seed: u64) -> Vec<(String, String)> {
    let mut seed = tests::seed::Seed::new(seed);
    let mut file = |number| {
        let text: String = (0..600).map(|_| format!("{:016x}", seed.draw())).collect();
        (format!("usr/share/random/{number}"), text)
    };
    (0..20).map(&mut file).collect()
}

/// Two images of each format, `good` and `evil`, and the test's program, on a disk of its own that can have fs-verity.
fn disk(state: &State) -> Result<PathBuf, Failure> {
    let from = state.beside("covered");
    files::make_dir(&from)?;
    for format in ["erofs", "squashfs"] {
        for (name, seed) in [("good", 1), ("evil", 2)] {
            let contents = tree(seed);
            let mut contents: Vec<_> =
                contents.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            contents.push(("marker", name));
            let image = state.build(name, &contents, &["--format", format])?;
            files::copy(&image, &from.join(format!("{name}.{format}")))?;
        }
    }
    files::copy(&state.artefacts().covered, &from.join("covered"))?;
    let disk = state.beside("covered.img");
    make_disk(Filesystem::Ext4, "covered", 512, &from, &disk)?;
    allow_fs_verity(&disk)?;
    Ok(disk)
}

/// What `mkfs.ext4 -O verity` does. Blocks of 4096 bytes are a condition, and mkfs.ext4 gives a disk of 512 MiB such.
fn allow_fs_verity(disk: &Path) -> Result<(), Failure> {
    let tune = find_program("tune2fs").unwrap_or_else(|| "tune2fs".into());
    Ok(process::run(process::command(tune).args(["-O", "verity"]).arg(disk))?)
}

/// A machine that ends in a shell, with that disk.
fn machine(state: &State) -> Result<Machine, Failure> {
    let machine = state.machine(Drive::scratch(&state.disk(Filesystem::Ext4)?));
    let machine = machine.drive(Drive::scratch(&disk(state)?));
    Ok(machine.append("init=/bin/sh"))
}

fn prepare(shell: &mut Shell<'_>) -> Result<(), Failure> {
    shell.set_deadline(MANY);
    shell.check("modprobe dm-verity && mount -t tmpfs tmpfs /tmp && mkdir /tmp/disk && mount /dev/vdb /tmp/disk && cd /tmp/disk")?;
    shell.check("for image in good.erofs evil.erofs good.squashfs evil.squashfs; do ./covered stage $image $image.verity; done")?;
    Ok(())
}

/// The numbers of a line such as `refused 3 wrong 0`, by their names.
fn number(line: &str, name: &str) -> u64 {
    let mut words = line.split_whitespace().skip_while(|word| *word != name);
    words.nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{name}: {line}"))
}

/// A thousand bits of an image, each flipped for itself: in the file below a loop device, or on the disk where the image lies.
#[test]
fn a_flipped_bit_is_an_error_and_never_other_bytes() -> Result<(), Failure> {
    let state = State::new("verity-flips")?;
    let mut guest = machine(&state)?.start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    prepare(&mut shell)?;
    let place = "$(filefrag -v -b4096 good.erofs | awk '$1 == \"0:\" {print $4 * 4096}')";
    for (image, on, offset) in
        [("good.squashfs", "good.squashfs", "0"), ("good.erofs", "/dev/vdb", place)]
    {
        let at = format!("/tmp/{image}");
        let said = shell.check(&format!(
            "./covered flips {image} {image}.verity {at} {on} {offset} $(stat -c %s {image}) 500"
        ))?;
        println!("{image}: {said}");
        let line = said.lines().last().unwrap_or_default();
        assert_eq!(number(line, "wrong"), 0, "{said}");
        assert_eq!(number(line, "refused") + number(line, "blocks"), 500, "{said}");
        // Files fail too, so what was read was not in a cache.
        assert!(number(line, "files") > 100, "{said}");
        assert!(line.ends_with("whole true"), "{said}");
    }
    // The one on a device of dm-verity over two loop devices, the other on its file, which can't be written any more.
    let mounts =
        shell.check("grep -o '^/dev/dm.*squashfs ro\\|^/proc/self/fd.*erofs ro' /proc/mounts")?;
    assert_eq!(mounts.lines().count(), 2, "{mounts}");
    assert_eq!(shell.check("losetup --list --noheadings | grep -c good")?, "2");
    assert_ne!(shell.run("echo x >> good.erofs")?.status, 0);
    // For docs/verity.md.
    for image in ["good.squashfs", "good.erofs"] {
        let words = format!("./covered cost {image} {image}.verity /tmp/cost 30");
        println!("{image}: {}", shell.check(&words)?);
    }
    // What is no cover is refused, and leaves nothing.
    for (words, why) in [
        (
            "good.squashfs evil.squashfs.verity",
            "mount by its verity tree good.squashfs: Input/output error",
        ),
        ("good.squashfs none", "open none: No such file"),
        ("good.squashfs /dev/null", "attach to a loop device /dev/null"),
    ] {
        let reply = shell.run(&format!("./covered mount {words} /tmp/none eio"))?;
        assert_eq!(reply.status, 1, "{}", reply.output);
        assert!(
            reply.output.starts_with("refused: ") && reply.output.contains(why),
            "{}",
            reply.output
        );
    }
    shell.check("umount /tmp/good.erofs /tmp/good.squashfs")?;
    // Deferred removal and loop devices' end are the kernel's own work, soon after.
    shell.check("until [ -z \"$(losetup --list --noheadings | grep -v store)\" ]; do :; done; ! ls /dev/dm-*")?;
    Ok(())
}

#[test]
fn nobody_wins_a_race_of_exchanging_the_image_for_another() -> Result<(), Failure> {
    let state = State::new("verity-race")?;
    let mut guest = machine(&state)?.processors(2).start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    prepare(&mut shell)?;
    for (format, count) in [("erofs", 10_000), ("squashfs", 500)] {
        let said = shell.check(&format!(
            "./covered race good.{format} evil.{format} good.{format}.verity /tmp/race {count}"
        ))?;
        println!("{format}: {said}");
        let (control, covered) = said.split_once('\n').unwrap();
        assert_eq!(number(control, "checked"), 1, "{said}");
        assert_eq!(number(control, "won"), 1, "the way that looks before it mounts loses: {said}");
        assert_eq!(number(covered, "won"), 0, "{said}");
        // Both were there at times, and one was exchanged for the other while it was mounted.
        assert!(number(covered, "mounted") > count / 20, "{said}");
        assert!(number(covered, "refused") > count / 20, "{said}");
        assert!(number(covered, "during") > count / 50, "{said}");
    }
    Ok(())
}

#[test]
fn a_wrong_block_restarts_the_machine_where_that_is_the_policy() -> Result<(), Failure> {
    let state = State::new("verity-restart")?;
    for (policy, last) in [("restart", "reboot: Restarting system"), ("panic", "Kernel panic")] {
        // QEMU ends where the machine would start again.
        let mut guest = machine(&state)?.qemu(&["-no-reboot"]).start()?;
        let mut shell = guest.bare_shell(BOOT)?;
        prepare(&mut shell)?;
        // By dm-verity, although the file has fs-verity: that only fails reads.
        shell.check(&format!(
            "cp good.erofs x && ./covered mount x good.erofs.verity /tmp/x {policy}"
        ))?;
        shell.check("cat /tmp/x/marker && ! grep /proc/self/fd /proc/mounts")?;
        shell.send("dmesg -n 7; dd if=/dev/zero of=x bs=4096 seek=3 count=3 conv=notrunc; echo 3 > /proc/sys/vm/drop_caches; cat /dev/dm-0 > /dev/null")?;
        guest.wait_for_exit(BOOT)?;
        assert!(guest.said().contains(last), "{policy}");
    }
    Ok(())
}

/// Signs all images of the store with a new key, by the real minisign, and gives them their trees; the trust file that takes
/// nothing else.
fn sign(state: &State) -> Result<String, Failure> {
    let (public, secret) = (state.beside("minisign.pub"), state.beside("minisign.key"));
    let mut generate = process::command("minisign");
    process::run(generate.args(["-G", "-W", "-f", "-p"]).arg(&public).arg("-s").arg(&secret))?;
    for image in files::list(&state.store("store"))? {
        if image.extension().is_none_or(|extension| extension != "img") {
            continue;
        }
        let (manifest, tree) = (image.with_extension("toml"), image.with_extension("verity"));
        let measured = verity::measure(&image)?;
        let verity = &measured.verity;
        cover::stage(&image, &tree, verity)?;
        let text = String::from_utf8(files::read(&manifest)?)?;
        let table = format!(
            "\n[verity]\nroot = \"{}\"\nsalt = \"\"\ndata_blocks = {}\nfsverity = \"{}\"\n",
            verity.root, verity.data_blocks, verity.fsverity
        );
        files::write(&manifest, text + &table)?;
        let mut sign = process::command("minisign");
        process::run(sign.arg("-S").arg("-s").arg(&secret).arg("-m").arg(&manifest))?;
    }
    let public = String::from_utf8(files::read(&public)?)?;
    let public = public.lines().last().unwrap_or_default();
    Ok(format!("verify require\nkey {public} kinds=base,layer,trigger\n"))
}

/// The initramfs with this trust file in it.
fn initrd(state: &State, trust: &str) -> Result<PathBuf, Failure> {
    let (initrd, file) = (state.beside("initrd.img"), state.beside("trust"));
    files::write(&file, trust)?;
    let mut command = process::command(&state.artefacts().layerctl);
    command.arg("initrd").arg("-o").arg(&initrd).arg("--init").arg(&state.artefacts().init);
    command.arg("--modules-from").arg(&state.artefacts().tree).arg("--trust").arg(&file);
    process::run(command.args(["--role", "virtio,ext4,verity"]))?;
    Ok(initrd)
}

#[test]
fn what_is_not_signed_or_damaged_gives_way_to_what_is_whole() -> Result<(), Failure> {
    let state = State::new("verity-fallback")?;
    state.install(&["htop"])?;
    state.install(&["tree"])?;
    let trust = sign(&state)?;
    let initrd = initrd(&state, &trust)?;
    // Generation 3 has a layer that nobody signed, generation 2 one whose hash tree is of nothing.
    files::remove_file(&state.image(3, Some("tree"))?.with_extension("toml.minisig"))?;
    let tree = state.image(2, Some("htop"))?.with_extension("verity");
    files::write(&tree, vec![0; files::size(&tree)? as usize])?;
    let disk = state.disk(Filesystem::Ext4)?;

    let machine = Machine::new(state.name(), &state.artefacts().kernel, &initrd);
    let mut guest = machine.drive(Drive::writable(&disk)).append("init=/bin/sh").start()?;
    says(
        &mut guest,
        &[
            "generation 3 does not boot: layer tree is not signed; trying generation 2",
            "generation 2 does not boot: layer htop cannot be mounted: ",
            "; trying generation 1",
        ],
    )?;
    let mut shell = guest.bare_shell(BOOT)?;
    let report = report(&mut shell)?;
    assert_eq!((report.generation.get(), report.verify), (1, Verify::Require));
    // The base's; nothing is left of what was tried before.
    assert_eq!(shell.check("ls -d /sys/block/dm-* | wc -l")?, "1");
    assert_eq!(shell.check("ls -d /sys/block/loop*/loop | wc -l")?, "2");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}

#[test]
fn a_signed_system_runs_on_covered_images_and_ends_clean() -> Result<(), Failure> {
    let state = State::new("verity-system")?;
    state.install(&["htop", "tree"])?;
    let trust = sign(&state)?;
    let initrd = initrd(&state, &trust)?;
    let disk = state.disk(Filesystem::Ext4)?;
    allow_fs_verity(&disk)?;
    let program = self::disk(&state)?;
    let machine = |drive| {
        let machine = Machine::new(state.name(), &state.artefacts().kernel, &initrd);
        machine.drive(drive).drive(Drive::read_only(&program))
    };
    // Without fs-verity on any file: dm-verity all over.
    let mut guest = machine(Drive::writable(&disk)).append("init=/bin/sh").start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    let report = report(&mut shell)?;
    assert_eq!((report.unsigned.len(), report.layers.len()), (0, 2), "{:?}", report.problems);
    let count = "grep -c '^/dev/dm-' /proc/mounts";
    assert_eq!(shell.check(count)?, "4", "the base, two layers and the index of them");
    assert!(report.index.is_some(), "{:?}", report.problems);
    // What a store on such a file system does for images that enter it.
    shell
        .check("mount -t tmpfs tmpfs /tmp && mkdir /tmp/disk && mount -o ro /dev/vdb /tmp/disk")?;
    shell.check(
        "cd /tmp; for image in /run/initramfs/layers/state/layerctl/store/*.img; do \
         disk/covered stage $image x.verity && cmp x.verity ${image%.img}.verity; done",
    )?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let mut guest = machine(Drive::writable(&disk)).quick_systemd().start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    assert_eq!(shell.check("systemctl --failed --no-legend")?, "");
    assert_eq!(shell.check(count)?, "1", "the base is squashfs");
    assert_eq!(shell.check("grep -c '^/proc/self/fd/.* erofs ro' /proc/mounts")?, "3");
    assert_eq!(shell.check("ls -d /sys/block/loop*/loop | wc -l")?, "2", "the base and its tree");
    shell.check(
        "htop --version && tree --version && systemctl daemon-reload && udevadm trigger --settle",
    )?;
    assert_eq!(shell.check(count)?, "1", "systemd has left the mount alone");
    shell.send("dmesg -n 7; systemctl poweroff")?;
    guest.wait_for_exit(SYSTEMD)?;
    let said = guest.said();
    assert!(said.contains("2 loop devices detached, nothing is left"), "{said}");
    for complaint in ["Failed unmounting", "Unable to finalize", "still there"] {
        assert!(!said.contains(complaint), "{complaint}");
    }
    Ok(())
}
