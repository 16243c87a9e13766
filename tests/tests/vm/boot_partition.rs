//! The boot partition on the file system that it has in the field, as the running system keeps it in line.

use crate::state::{BOOT, SYSTEMD, State};
use layers::entry::{EntryName, Said};
use layers::store::stage;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::vm::{Drive, Esp, Filesystem};

/// The size of the partition in MiB.
const SIZE: u64 = 64;

#[test]
fn what_a_running_system_wrote_to_fat_is_there_after_the_power_went() -> Result<(), Failure> {
    let state = State::new("boot-partition")?;
    let disk = state.disk(Filesystem::Ext4)?;
    let (empty, image) = (state.beside("empty"), state.beside("esp.img"));
    files::make_dir(&empty)?;
    let esp = Esp::make(SIZE, &empty, &image)?;
    let machine = state.machine(Drive::scratch(&disk)).drive(Drive::writable(&image));
    let mut guest = machine.start()?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    shell.check("mount -t vfat /dev/disk/by-label/ESP /boot")?;
    shell.check("layerctl boot sync")?;
    shell.check("layerctl kargs --append console=ttyS0 --append 'dyndbg=\"file a.c +p\"'")?;
    assert_eq!(shell.run("layerctl --unchanged-exit-77 boot sync")?.status, 77);
    let uuid = shell.check("findmnt -no UUID /run/initramfs/layers/state")?;
    let machine_id = shell.check("cat /etc/machine-id")?;
    shell.power_off_kernel()?;
    guest.wait_for_exit(BOOT)?;

    let names = esp.list("loader/entries")?;
    let entries: Vec<EntryName> = names.iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(entries.len(), 3, "{names:?}");
    for (name, file) in entries.iter().zip(&names) {
        let text = esp.read(&format!("loader/entries/{file}"))?;
        assert!(name.fits(&text), "{file}: {text}");
        let said = Said::parse(&text);
        assert_eq!(said.machine_id.as_ref(), Some(&machine_id));
        assert_eq!(said.option("layers.state"), Some(format!("UUID={uuid}").as_str()));
        let own = said.options.contains(&"dyndbg=\"file a.c +p\"".to_owned());
        assert_eq!(own, name.id.get() == 2, "{text}");
    }
    assert_eq!(entries.iter().filter(|name| name.default && name.id.get() == 2).count(), 1);
    let files = esp.list("layerctl")?;
    assert_eq!(files.len(), 2, "one kernel for both generations: {files:?}");
    for file in files {
        let (digest, _) = file.split_once('-').unwrap();
        let mut read = process::command("mtype");
        read.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(&image);
        let bytes = process::read(read.arg(format!("::/layerctl/{file}")))?;
        assert_eq!(stage::digest(&bytes).to_string(), digest);
    }
    Ok(())
}
