//! The way of a real machine: firmware, systemd-boot, a boot entry, the kernel, the project's init.

use crate::state::{BOOT, SYSTEMD, State, report};
use std::path::PathBuf;
use tests::artefacts::boot_loader;
use tests::failure::Failure;
use tests::files;
use tests::vm::{Drive, Esp, Filesystem, Firmware, Machine, Partition, Purpose, Shell, make_gpt};
use tests::workspace::Workspace;

/// The size of the EFI system partition in MiB.
const ESP: u64 = 128;

/// Where entries are on the EFI system partition.
const ENTRIES: &str = "loader/entries";

/// The GUID of systemd-boot's variables (<https://systemd.io/BOOT_LOADER_INTERFACE>).
const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Where the kernel shows the firmware's variables.
const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// A disk in the making: a store, and the directory that becomes the EFI system partition.
struct Installation {
    state: State,
    boot: PathBuf,
}

impl Installation {
    /// systemd-boot without a menu, and the base as generation 1.
    fn new(name: &str) -> Result<Self, Failure> {
        let state = State::empty(name)?;
        let boot = state.beside("boot");
        files::make_dir(&boot.join("EFI/BOOT"))?;
        files::copy(&boot_loader(&Workspace::here())?, &boot.join("EFI/BOOT/BOOTX64.EFI"))?;
        files::make_dir(&boot.join("loader"))?;
        files::write(&boot.join("loader/loader.conf"), "timeout 0\n")?;
        let installation = Self { state, boot };
        let base = installation.state.artefacts().base.display().to_string();
        installation.layerctl(&["base", "import", &base])?;
        Ok(installation)
    }

    /// Runs layerctl on the store and the directory.
    fn layerctl(&self, words: &[&str]) -> Result<String, Failure> {
        let boot = self.boot.display().to_string();
        self.state.layerctl(&[&["--boot", &boot], words].concat())
    }

    fn install(&self, package: &str) -> Result<(), Failure> {
        let image = self.state.artefacts().layer(package)?;
        self.layerctl(&["install", &image.display().to_string()]).map(drop)
    }

    /// Makes the disk, and takes a machine from the factory for it.
    fn finish(self) -> Result<Computer, Failure> {
        let state = self.state;
        let (esp, disk) = (state.beside("esp.img"), state.beside("computer.img"));
        Esp::make(ESP, &self.boot, &esp)?;
        let partition =
            |name: &str, purpose, image| Partition { name: name.into(), purpose, image };
        let partitions = [
            partition("esp", Purpose::Esp, esp),
            partition("state", Purpose::Data, state.disk(Filesystem::Ext4)?),
        ];
        let starts = make_gpt(&partitions, &disk)?;
        let firmware = Firmware::new(&state.beside("variables.fd"))?;
        Ok(Computer { esp: Esp::in_disk(&disk, starts[0]), state, firmware, disk })
    }
}

/// A machine that starts from its disk.
struct Computer {
    /// Holds the place of the disk.
    state: State,
    firmware: Firmware,
    disk: PathBuf,
    esp: Esp,
}

impl Computer {
    fn machine(&self) -> Machine {
        Machine::firmware(self.state.name(), &self.firmware).drive(Drive::writable(&self.disk))
    }

    /// A machine that ends in a shell in place of systemd, so that nobody marks its boots good.
    fn bare(&self) -> Machine {
        self.machine().append("init=/bin/sh")
    }

    /// The entries on the disk: names without the digits that stand for the text, `layerctl-2+2-1.conf`.
    fn entries(&self) -> Result<Vec<String>, Failure> {
        let names = self.esp.list(ENTRIES)?;
        Ok(names.iter().map(|name| without_hash(name)).collect())
    }
}

/// `layerctl-2-0123abcd+3.conf` without its digits: `layerctl-2+3.conf`.
fn without_hash(name: &str) -> String {
    let end = name.find(['+', '.']).unwrap_or(name.len());
    let start = name[..end].rfind('-').unwrap_or(end);
    format!("{}{}", &name[..start], &name[end..])
}

/// The entry that systemd-boot took for this boot, as [`without_hash`] has it.
fn selected(shell: &mut Shell<'_>) -> Result<String, Failure> {
    shell.run(&format!("mountpoint -q {VARIABLES} || mount -t efivarfs efivarfs {VARIABLES}"))?;
    // Four bytes of attributes, then UTF-16 with a zero at its end; this file system knows no seeking.
    let variable = format!("{VARIABLES}/LoaderEntrySelected-{LOADER}");
    Ok(without_hash(&shell.check(&format!("cat {variable} | tail -c +5 | tr -d '\\0'"))?))
}

/// The attempts that the store has on record for a generation; empty where it counts none.
fn record(shell: &mut Shell<'_>, generation: u64) -> Result<String, Failure> {
    let tries = "/run/initramfs/layers/state/layerctl/boot/tries";
    Ok(shell.check(&format!("cat {tries}/{generation} 2>/dev/null || true"))?)
}

fn generation(shell: &mut Shell<'_>) -> Result<String, Failure> {
    Ok(report(shell)?.generation.to_string())
}

#[test]
fn a_machine_marks_its_first_boot_good_and_gives_up_a_kernel_that_dies() -> Result<(), Failure> {
    let computer = Installation::new("firmware")?.finish()?;
    assert_eq!(computer.entries()?, ["layerctl-1+3.conf", "layerctl-default-1+3.conf"]);
    // Without `quiet`, a kernel that fails before init counts as an accident of the emulator.
    let mut guest = computer.machine().append("quiet panic=1").start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    shell.run("systemctl is-system-running --wait")?;
    assert_eq!(shell.check("systemctl --failed --no-legend")?, "");
    assert_eq!(selected(&mut shell)?, "layerctl-default-1.conf");
    assert_eq!(generation(&mut shell)?, "1");
    let units = "layerctl-health.service layerctl-mark-good.service efi.mount";
    let active = "active\nactive\nactive";
    assert_eq!(shell.check(&format!("systemctl is-active {units}"))?, active);
    assert_eq!(
        shell
            .run("systemd-analyze verify layerctl-health.service layerctl-mark-good.service")?
            .output,
        ""
    );
    assert_eq!(shell.run("journalctl -b | grep -i 'ordering cycle'")?.output, "");
    let listing = shell.check("ls -1 /efi/loader/entries")?;
    assert_eq!(
        listing.lines().map(without_hash).collect::<Vec<_>>(),
        ["layerctl-1.conf", "layerctl-default-1.conf"],
        "no counters are left"
    );
    assert_eq!(record(&mut shell, 1)?, "");
    assert_eq!(shell.check("cat /run/initramfs/layers/state/layerctl/boot/good")?, "0000000001");

    shell.check("layerctl kargs --append rdinit=/nonexistent")?;
    shell.send("systemctl reboot")?;
    for counters in ["+2-1", "+1-2", "+0-3"] {
        guest.wait_for("Kernel panic - not syncing", SYSTEMD)?;
        let counted = format!("layerctl-default-2{counters}.conf");
        let entries = computer.entries()?;
        assert!(entries.contains(&counted), "{counted} among {entries:?}");
    }
    let mut shell = guest.log_in(SYSTEMD)?;
    assert_eq!(selected(&mut shell)?, "layerctl-1.conf");
    assert_eq!(generation(&mut shell)?, "1");
    Ok(())
}

#[test]
fn a_generation_that_is_never_marked_good_is_given_up_after_three_attempts() -> Result<(), Failure>
{
    let installation = Installation::new("firmware-attempts")?;
    installation.layerctl(&["mark-good", "1"])?;
    installation.layerctl(&["kargs", "--append", "marker=2"])?;
    let computer = installation.finish()?;
    let mut guest = computer.bare().start()?;
    for (counters, left) in [("+2-1", "002"), ("+1-2", "001"), ("+0-3", "000")] {
        let mut shell = guest.bare_shell(BOOT)?;
        assert_eq!(generation(&mut shell)?, "2");
        assert_eq!(selected(&mut shell)?, "layerctl-default-2.conf");
        assert_eq!(record(&mut shell, 2)?, left);
        assert!(shell.check("cat /proc/cmdline")?.contains(" marker=2 "));
        let entries = computer.entries()?;
        let counted = format!("layerctl-default-2{counters}.conf");
        assert!(entries.contains(&counted), "{counted} among {entries:?}");
        shell.reboot_kernel()?;
    }
    // The boot loader and init both have given it up by now.
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(selected(&mut shell)?, "layerctl-1.conf");
    assert_eq!(generation(&mut shell)?, "1");
    let words = shell.check("cat /proc/cmdline")?;
    assert!(!words.contains("marker"), "the good generation's own arguments: {words}");
    assert_eq!(record(&mut shell, 2)?, "000", "a boot of another generation counts nothing");
    Ok(())
}

#[test]
fn the_entry_of_an_older_generation_boots_that_generation() -> Result<(), Failure> {
    let installation = Installation::new("firmware-pinned")?;
    installation.layerctl(&["mark-good", "1"])?;
    installation.install("tree")?;
    let computer = installation.finish()?;
    computer.esp.write("loader/loader.conf", "timeout 0\ndefault layerctl-1-*\n")?;
    let mut guest = computer.bare().start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(selected(&mut shell)?, "layerctl-1.conf");
    assert_eq!(generation(&mut shell)?, "1");
    let words = shell.check("cat /proc/cmdline")?;
    assert!(words.contains(" layers.generation=1 "), "{words}");
    assert_eq!(record(&mut shell, 2)?, "003");
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    computer.esp.write("loader/loader.conf", "timeout 0\n")?;
    let mut guest = computer.bare().start()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(selected(&mut shell)?, "layerctl-default-2.conf");
    assert_eq!(generation(&mut shell)?, "2");
    // As `bootctl set-oneshot` does it: attributes, then the entry's name in UTF-16; all in one write.
    let names = computer.esp.list(ENTRIES)?;
    let pinned = names.iter().find(|name| name.starts_with("layerctl-1-")).unwrap();
    let value: String = pinned.chars().map(|letter| format!("{letter}\\000")).collect();
    shell.check(&format!(
        "printf '\\007\\000\\000\\000{value}\\000\\000' > /run/value; \
         cat /run/value > {VARIABLES}/LoaderEntryOneShot-{LOADER}"
    ))?;
    shell.reboot_kernel()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(selected(&mut shell)?, "layerctl-1.conf");
    assert_eq!(generation(&mut shell)?, "1");
    shell.reboot_kernel()?;
    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(generation(&mut shell)?, "2", "once, and no more");
    assert_eq!(record(&mut shell, 2)?, "001", "its own boots alone are counted");
    Ok(())
}
