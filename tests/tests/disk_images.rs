//! Disk images filled from a directory.

use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::tools::find_program;
use tests::vm::{Filesystem, make_disk};

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
