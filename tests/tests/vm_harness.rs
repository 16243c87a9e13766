//! The harness itself, on a kernel with an initramfs that holds busybox alone.

use std::path::PathBuf;
use std::time::Duration;
use tests::base::{Builder, Tree};
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Drive, Filesystem, Machine, VmError, WriteLog, make_disk};
use tests::workspace::Workspace;

const BOOT: Duration = Duration::from_secs(120);

/// Mounts what a shell needs, then is one, as Debian's /bin/sh is with `init=/bin/sh`.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
insmod /virtio_blk.ko.xz
mount -t devtmpfs d /dev; mount -t proc p /proc; mount -t sysfs s /sys
echo harness: up
exec sh
";

struct Prepared {
    kernel: PathBuf,
    initrd: PathBuf,
    dir: PathBuf,
}

fn prepare(name: &str) -> Result<Prepared, Failure> {
    let workspace = Workspace::here();
    let tree = Tree::build(&workspace, Builder::Mmdebstrap)?;
    let dir = workspace.machine(name);
    let root = dir.join("initramfs");
    files::make_empty_dir(&root)?;
    for dir in ["bin", "dev", "proc", "sys"] {
        files::make_dir(&root.join(dir))?;
    }
    let busybox = find_program("busybox").unwrap_or_else(|| "busybox".into());
    files::copy(&busybox, &root.join("bin/busybox"))?;
    files::write(&root.join("init"), INIT)?;
    let module = tree.modules().join("kernel/drivers/block/virtio_blk.ko.xz");
    files::copy(&module, &root.join("virtio_blk.ko.xz"))?;
    let initrd = dir.join("initrd.cpio");
    let script =
        format!("chmod 755 init && find . | cpio --quiet -o -H newc > '{}'", initrd.display());
    process::run(process::command("sh").args(["-c", &script]).current_dir(&root))?;
    Ok(Prepared { kernel: tree.kernel(), initrd, dir })
}

fn machine(name: &str, prepared: &Prepared) -> Machine {
    Machine::new(name, &prepared.kernel, &prepared.initrd).append("quiet")
}

#[test]
fn commands_run_and_the_machine_switches_off() -> Result<(), Failure> {
    let prepared = prepare("harness-shell")?;
    let mut guest = machine("harness-shell", &prepared).start()?;
    guest.wait_for("harness: up", BOOT)?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(shell.check("echo one; echo two >&2")?, "one\ntwo");
    assert_eq!(shell.check("cd /proc; X=1")?, "");
    assert_eq!(shell.check("pwd; echo $X\necho $0")?, "/proc\n1\n/bin/sh");
    let reply = shell.run("printf 'no line feed'; false")?;
    assert_eq!((reply.status, reply.output.as_str()), (1, "no line feed"));
    let error = shell.check("ls /nowhere").unwrap_err();
    assert!(matches!(error, VmError::Status { status: 1, .. }), "{error}");
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;
    let log = files::read_text(&prepared.dir.join("console.log"))?;
    assert!(log.contains("harness: up"));
    Ok(())
}

#[test]
fn a_missed_deadline_shows_the_console() -> Result<(), Failure> {
    let prepared = prepare("harness-deadline")?;
    let mut guest = machine("harness-deadline", &prepared).start()?;
    guest.wait_for("harness: up", BOOT)?;
    let error = guest.wait_for("never said", Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, VmError::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("harness: up"), "{error}");
    Ok(())
}

#[test]
fn a_machine_that_ends_is_told_from_a_slow_one() -> Result<(), Failure> {
    let prepared = prepare("harness-end")?;
    let mut guest =
        machine("harness-end", &prepared).qemu(&["-device", "no-such-device"]).start()?;
    let error = guest.wait_for("harness: up", BOOT).unwrap_err();
    assert!(matches!(error, VmError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no-such-device"), "{error}");
    Ok(())
}

#[test]
fn a_machine_reboots_in_place_and_keeps_a_scratch_disk() -> Result<(), Failure> {
    let prepared = prepare("harness-reboot")?;
    let from = prepared.dir.join("from");
    files::make_empty_dir(&from)?;
    files::write(&from.join("note"), "hello\n")?;
    let image = prepared.dir.join("disk.img");
    make_disk(Filesystem::Ext4, "scratch", 64, &from, &image)?;
    let before = files::read(&image)?;
    let mut guest = machine("harness-reboot", &prepared).drive(Drive::scratch(&image)).start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("mkdir -p /d; mount -t ext4 /dev/vda /d")?;
    assert_eq!(shell.check("cat /d/note; echo again >> /d/note; umount /d")?, "hello");
    shell.send("reboot -f")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("mkdir -p /d; mount -t ext4 /dev/vda /d")?;
    assert_eq!(shell.check("cat /d/note")?, "hello\nagain");
    drop(guest);
    assert!(before == files::read(&image)?, "the image was written to");
    Ok(())
}

#[test]
fn every_write_to_a_logged_disk_is_counted() -> Result<(), Failure> {
    let prepared = prepare("harness-log")?;
    let (image, log) = (prepared.dir.join("disk.img"), prepared.dir.join("disk.log"));
    files::make_sparse(&image, 1 << 20)?;
    let drive = Drive::logged(&image, &log)?;
    let mut guest = machine("harness-log", &prepared).drive(drive).start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("dd if=/dev/vda of=/dev/null bs=4k")?;
    assert_eq!(WriteLog::load(&log)?, WriteLog::default(), "reading is no writing");
    shell.check("echo first | dd of=/dev/vda bs=512 conv=sync,fsync")?;
    let first = WriteLog::load(&log)?;
    assert!(first.writes == 1 && first.flushes >= 1, "{first:?}");
    shell.check("echo second | dd of=/dev/vda bs=512 seek=1000 conv=sync,fsync")?;
    assert_eq!(WriteLog::load(&log)?.writes, 2);
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;
    assert_eq!(WriteLog::load(&log)?.writes, 2);
    let disk = files::read(&image)?;
    assert!(disk.starts_with(b"first\n") && disk[512_000..].starts_with(b"second\n"));
    Ok(())
}

#[test]
fn a_kernel_that_fails_before_init_is_started_once_more() -> Result<(), Failure> {
    let prepared = prepare("harness-early")?;
    let mut guest = Machine::new("harness-early", &prepared.kernel, &prepared.initrd)
        .append("rdinit=/nothing panic=0")
        .start()?;
    let error = guest.wait_for("layers-init: ", BOOT).unwrap_err();
    assert!(matches!(error, VmError::Early { .. }), "{error}");
    assert!(error.to_string().contains("Kernel panic - not syncing: VFS"), "{error}");
    assert_eq!(guest.said().matches("Linux version ").count(), 2);
    Ok(())
}
