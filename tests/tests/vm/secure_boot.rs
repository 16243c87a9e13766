//! A machine that starts nothing but what its owner signed: firmware with Secure Boot, systemd-boot, a unified kernel image.

use crate::state::{BOOT, SYSTEMD, State, report};
use std::path::{Path, PathBuf};
use tests::artefacts::{boot_loader, stub};
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::vm::{
    Drive, Esp, Filesystem, Firmware, Keys, Machine, Partition, Purpose, QUICK_SYSTEMD, Shell,
    make_gpt,
};
use tests::workspace::Workspace;

/// The size of the EFI system partition in MiB: four images.
const ESP: u64 = 128;

/// Where boot loaders find unified kernel images (UAPI.1, type 2).
const IMAGES: &str = "EFI/Linux";

/// The GUID of the specification's own variables.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// Signs the base in a store, and writes a trust file that asks for signed images: gives its path.
fn sign_base(state: &State) -> Result<String, Failure> {
    let text = |path: PathBuf| path.display().to_string();
    let key = text(state.beside("release"));
    state.layerctl(&["key", "generate", "--no-password", "-o", &key])?;
    state.layerctl(&["sign", "debian", "--key", &format!("{key}.key")])?;
    let public = files::read_text(&state.beside("release.pub"))?;
    let public = public.lines().find(|line| line.starts_with("RW")).unwrap();
    let trust = state.beside("trust");
    files::write(&trust, format!("verify require\nkey {public} kinds=base\n"))?;
    Ok(text(trust))
}

/// Makes an image of the base's kernel by `layerctl initrd --uki`.
fn image(state: &State, words: &[&str], cmdline: &str, output: &Path) -> Result<(), Failure> {
    let artefacts = state.artefacts();
    let mut command = process::command(&artefacts.layerctl);
    command.args(["initrd", "--uki", "--role", "virtio,ext4,verity", "--cmdline", cmdline]);
    command.arg("--modules-from").arg(&artefacts.tree).arg("--init").arg(&artefacts.init);
    command.arg("--stub").arg(stub(&Workspace::here())?).arg("-o").arg(output);
    Ok(process::run(command.args(words))?)
}

/// Words of the command line without a key.
fn signed_by(keys: &Keys) -> [String; 4] {
    let text = |path: PathBuf| path.display().to_string();
    [
        "--secure-boot-key".to_owned(),
        text(keys.key()),
        "--secure-boot-certificate".to_owned(),
        text(keys.certificate()),
    ]
}

/// Changes a byte in the middle of an image's initrd.
fn change_initrd(image: &Path) -> Result<(), Failure> {
    let mut bytes = files::read(image)?;
    // The archive is compressed by zstd (RFC 8878, 3.1.1), as nothing else of the image is that starts a sector.
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let at = bytes.chunks(512).position(|sector| sector.starts_with(&magic)).unwrap() * 512;
    bytes[at + 100_000] ^= 1;
    Ok(files::write(image, bytes)?)
}

/// The value of a firmware variable of one byte.
fn flag(shell: &mut Shell<'_>, name: &str) -> Result<String, Failure> {
    let variable = format!("/sys/firmware/efi/efivars/{name}-{GLOBAL}");
    // Four bytes of attributes come first; this file system knows no seeking.
    Ok(shell.check(&format!("cat {variable} | tail -c +5 | od -An -tu1"))?.trim().to_owned())
}

#[test]
fn a_signed_image_boots_and_nothing_else_does() -> Result<(), Failure> {
    let state = State::new("secure-boot")?;
    let trust = sign_base(&state)?;
    let workspace = Workspace::here();
    let keys = Keys::make(&state.beside("keys"))?;
    let boot = state.beside("boot");
    for dir in ["EFI/BOOT", IMAGES, "loader/entries"] {
        files::make_dir(&boot.join(dir))?;
    }
    keys.write_variables(&boot.join("loader/keys/auto"))?;
    keys.sign(&boot_loader(&workspace)?, &boot.join("EFI/BOOT/BOOTX64.EFI"))?;

    let cmdline = ["console=ttyS0 layers.state=LABEL=layers panic=10", &QUICK_SYSTEMD.join(" ")];
    let cmdline = cmdline.join(" ");
    let path = |name: &str| boot.join(IMAGES).join(format!("{name}.efi"));
    let signer = signed_by(&keys);
    let own = signer.each_ref().map(String::as_str);
    let trusting = [&["--trust", trust.as_str()], own.as_slice()].concat();
    image(&state, &trusting, &cmdline, &path("signed"))?;
    image(&state, &[], &cmdline, &path("unsigned"))?;
    let stranger = signed_by(&Keys::make(&state.beside("strange-keys"))?);
    image(&state, &stranger.each_ref().map(String::as_str), &cmdline, &path("strange"))?;
    files::copy(&path("signed"), &path("changed"))?;
    change_initrd(&path("changed"))?;
    // Whoever can write to the partition can write entries too: one with other words for the signed image, and one that
    // starts the kernel with an initrd of their own.
    files::write(
        &boot.join("loader/entries/words.conf"),
        "title other words\nefi /EFI/Linux/signed.efi\noptions layers.ephemeral rdinit=/bin/sh\n",
    )?;
    files::copy(&state.artefacts().kernel, &boot.join("linux"))?;
    files::copy(&state.artefacts().initrd, &boot.join("initrd"))?;
    files::write(
        &boot.join("loader/entries/plain.conf"),
        "title plain\nlinux /linux\ninitrd /initrd\noptions console=ttyS0\n",
    )?;
    let choose = |entry: &str| format!("timeout 0\nsecure-boot-enroll if-safe\ndefault {entry}\n");
    files::write(&boot.join("loader/loader.conf"), choose("words.conf"))?;

    let (esp, disk) = (state.beside("esp.img"), state.beside("computer.img"));
    Esp::make(ESP, &boot, &esp)?;
    let partition = |name: &str, purpose, image| Partition { name: name.into(), purpose, image };
    let partitions = [
        partition("esp", Purpose::Esp, esp),
        partition("state", Purpose::Data, state.disk(Filesystem::Ext4)?),
    ];
    let esp = Esp::in_disk(&disk, make_gpt(&partitions, &disk)?[0]);
    let firmware = Firmware::new(&state.beside("variables.fd"))?;
    let machine = Machine::firmware(state.name(), &firmware).drive(Drive::writable(&disk));

    // A machine from the factory takes the keys that it finds; from then on it asks for signatures.
    let mut guest = machine.start()?;
    guest.wait_for("Custom Secure Boot keys successfully enrolled", BOOT)?;
    let mut shell = guest.log_in(SYSTEMD)?;
    shell.set_deadline(SYSTEMD);
    shell.run("systemctl is-system-running --wait")?;
    assert_eq!(shell.check("systemctl --failed --no-legend")?, "");
    assert_eq!(
        (flag(&mut shell, "SecureBoot")?, flag(&mut shell, "SetupMode")?),
        ("1".into(), "0".into())
    );
    assert_eq!(shell.check("cat /proc/cmdline")?, cmdline, "an entry's words do not get in");
    assert_eq!(report(&mut shell)?.cmdline, cmdline);
    assert!(shell.check("cat /sys/kernel/security/lockdown")?.contains("[integrity]"));
    let status: serde_json::Value = serde_json::from_str(&shell.check("layerctl status --json")?)?;
    let seal = &status["seal"];
    assert_eq!(seal["level"], "sealed", "{seal}");
    assert_eq!(seal["missing"], serde_json::json!([]));
    // What this machine writes it finds again, and status does not hide that.
    assert_eq!(seal["uncovered"].as_array().map(Vec::len), Some(1), "{seal}");
    assert_eq!(report(&mut shell)?.unsigned, []);
    drop(guest);

    for (entry, program) in [
        ("unsigned.efi", r"\EFI\Linux\unsigned.efi"),
        ("strange.efi", r"\EFI\Linux\strange.efi"),
        ("changed.efi", r"\EFI\Linux\changed.efi"),
        ("plain.conf", r"\linux"),
    ] {
        esp.write("loader/loader.conf", choose(entry))?;
        let mut guest = machine.start()?;
        guest.wait_for(&format!("Error loading {program}: Access denied"), BOOT)?;
        assert!(!guest.said().contains("Linux version"), "{entry} boots");
    }
    Ok(())
}
