//! Disk images filled from a directory.

use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Esp, Filesystem, Partition, Purpose, make_disk, make_gpt};

/// Each check program of these file systems reads the whole structure and fails on any fault.
#[test]
fn each_file_system_has_its_label_and_checks_clean() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let from = dir.path().join("from");
    files::make_dir(&from.join("layerctl/store"))?;
    files::write(&from.join("layerctl/store/a.img"), vec![7; 100_000])?;
    let cases: [(_, &str, &[&str]); 3] = [
        (Filesystem::Ext4, "e2fsck", &["-f", "-n"]),
        (Filesystem::Btrfs, "btrfs", &["check"]),
        (Filesystem::Xfs, "xfs_repair", &["-n"]),
    ];
    for (filesystem, program, arguments) in cases {
        let image = dir.path().join("disk.img");
        make_disk(filesystem, "layers", 512, &from, &image)?;
        let program = find_program(program).unwrap_or_else(|| program.into());
        process::run(process::command(program).args(arguments).arg(&image))?;
        let blkid = find_program("blkid").unwrap_or_else(|| "blkid".into());
        let label = process::read(
            process::command(blkid).args(["-p", "-o", "value", "-s", "LABEL"]).arg(&image),
        )?;
        assert_eq!(label, b"layers\n", "{filesystem:?}");
    }
    Ok(())
}

#[test]
fn a_disk_has_its_partitions_and_an_esp_keeps_long_names() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let from = dir.path().join("from");
    files::make_dir(&from.join("loader/entries"))?;
    files::write(&from.join("loader/loader.conf"), "timeout 0\n")?;
    let name = "layerctl-default-12-0123abcd+2-1.conf";
    files::write(&from.join("loader/entries").join(name), "title x\n")?;
    let (esp, state) = (dir.path().join("esp.img"), dir.path().join("state.img"));
    Esp::make(64, &from, &esp)?;
    make_disk(Filesystem::Ext4, "layers", 128, &from, &state)?;
    let disk = dir.path().join("disk.img");
    let partitions = [
        Partition { name: "esp".into(), purpose: Purpose::Esp, image: esp.clone() },
        Partition { name: "state".into(), purpose: Purpose::Data, image: state.clone() },
    ];
    let starts = make_gpt(&partitions, &disk)?;

    let program = |name: &str| find_program(name).unwrap_or_else(|| name.into());
    process::run(process::command(program("sgdisk")).arg("--verify").arg(&disk))?;
    let table = process::read(process::command(program("sfdisk")).arg("--dump").arg(&disk))?;
    let table = String::from_utf8_lossy(&table);
    assert!(table.contains("name=\"esp\"") && table.contains("name=\"state\""), "{table}");
    process::run(process::command(program("fsck.vfat")).arg("-n").arg(&esp))?;
    let whole = files::read(&disk)?;
    for (image, start) in [(&esp, starts[0]), (&state, starts[1])] {
        let (image, start) = (files::read(image)?, usize::try_from(start)?);
        assert!(whole[start..start + image.len()] == image, "the partition at {start}");
    }

    let esp = Esp::in_disk(&disk, starts[0]);
    assert_eq!(esp.list("/")?, ["loader/"]);
    assert_eq!(esp.list("loader/entries")?, [name]);
    esp.write("loader/loader.conf", "timeout 1\n")?;
    assert_eq!(esp.read("loader/loader.conf")?, "timeout 1\n");
    assert_eq!(esp.list("loader")?, ["entries/", "loader.conf"]);
    assert!(esp.list("nowhere").is_err() && esp.read("nowhere").is_err());
    Ok(())
}
