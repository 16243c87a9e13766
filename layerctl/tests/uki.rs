//! `initrd --uki`, with the real systemd-stub, objcopy and sbsign of this machine.

use insta::assert_snapshot;

use crate::world::World;

/// The real stub. It stands for a kernel too: it is a program that UEFI firmware starts, as a kernel with an EFI stub is.
const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// A tree with a kernel that has all built in.
fn world() -> World {
    let world = World::new();
    world.kernel_tree("tree", "6.12.1");
    world.write("tree/usr/lib/modules/6.12.1/vmlinuz", std::fs::read(STUB).unwrap());
    world
}

/// Makes `NAME.key` and `NAME.crt`.
fn key(world: &World, name: &str) {
    world.shell(&format!(
        "openssl req -new -x509 -newkey rsa:2048 -noenc -subj /CN={name} -keyout {name}.key -out {name}.crt 2>/dev/null"
    ));
}

const LINE: &str =
    "initrd --uki --modules-from tree --init tree/usr/lib/layerctl/layers-init --role virtio,ext4";

/// The bytes of a section of an image.
fn section(world: &World, image: &str, name: &str) -> Vec<u8> {
    // objcopy(1) writes its input anew unless it is told where else to.
    world.shell(&format!("objcopy --dump-section {name}=section {image} copy"));
    world.read("section")
}

#[test]
fn an_image_has_kernel_initrd_and_command_line_and_one_signature_over_them() {
    let world = world();
    key(&world, "db");
    let signed = "--secure-boot-key db.key --secure-boot-certificate db.crt";
    assert_snapshot!(world.run(&[
        &format!("{LINE} -o one.efi"),
        &format!("{LINE} -o two.efi"),
        &format!("{LINE} {signed} --dry-run -o three.efi"),
        &format!("{LINE} {signed} -o signed.efi --cmdline 'panic=1 quiet'"),
        "initrd --modules-from tree --init tree/usr/lib/layerctl/layers-init --role virtio,ext4 -o initrd",
    ]));
    assert!(world.read("one.efi") == world.read("two.efi"), "the same input, the same bytes");
    assert!(!world.path("three.efi").exists());
    assert!(section(&world, "signed.efi", ".cmdline") == b"panic=1 quiet");
    assert!(section(&world, "one.efi", ".uname") == b"6.12.1");
    assert!(section(&world, "one.efi", ".osrel") == world.read("tree/usr/lib/os-release"));
    assert!(section(&world, "one.efi", ".initrd") == world.read("initrd"));
    assert!(section(&world, "one.efi", ".linux") == std::fs::read(STUB).unwrap());
    assert!(!section(&world, "one.efi", ".sbat").is_empty());
    world.shell("sbverify --cert db.crt signed.efi 2>/dev/null");
    world.shell("! sbverify --cert db.crt one.efi 2>/dev/null");
    // Whichever part is changed, the signature does not fit any more.
    for part in [".cmdline", ".initrd", ".linux", ".osrel", ".uname"] {
        let content = section(&world, "signed.efi", part);
        let mut image = world.read("signed.efi");
        let at = image.windows(content.len()).position(|bytes| bytes == content).unwrap();
        image[at] ^= 1;
        world.write("changed.efi", image);
        world.shell("! sbverify --cert db.crt changed.efi >/dev/null 2>&1");
    }
}

#[test]
fn a_base_that_marks_its_boots_good_gets_a_watchdog() {
    let world = world();
    world.write("tree/usr/lib/systemd/system/layerctl-mark-good.service", "");
    world.done(&format!("{LINE} -o one.efi"));
    let cmdline = section(&world, "one.efi", ".cmdline");
    assert_eq!(
        String::from_utf8(cmdline).unwrap(),
        "layers.state=LABEL=layers panic=10 layers.watchdog=120"
    );
}

#[test]
fn what_no_image_can_be_made_of_is_refused() {
    let world = world();
    world.write("text", "x");
    let mut text: String = [
        "--linux text",
        "--linux nowhere",
        "--stub text",
        "--stub nowhere",
        "--os-release nowhere",
        "--secure-boot-key nowhere --secure-boot-certificate text",
        "--secure-boot-key text --secure-boot-certificate nowhere",
    ]
    .iter()
    .map(|options| world.refused(&format!("{LINE} {options} -o out.efi")))
    .collect();
    // What a kernel for x86 says of itself (Linux, Documentation/arch/x86/boot.rst), in a program of the right kind.
    let mut kernel = std::fs::read(STUB).unwrap();
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x1000_u16.to_le_bytes());
    kernel[0x1200..0x1210].copy_from_slice(b"6.12.2 (a@b) #1 ");
    world.write("other", &kernel);
    text += &world.refused(&format!("{LINE} --linux other -o out.efi"));
    let other_stub = std::fs::read(STUB).unwrap();
    let at = u32::from_le_bytes(*other_stub[0x3c..].first_chunk().unwrap()) as usize + 4;
    let mut other_stub = other_stub;
    other_stub[at..at + 2].copy_from_slice(&0xaa64_u16.to_le_bytes());
    world.write("arm.stub", &other_stub);
    text += &world.refused(&format!("{LINE} --stub arm.stub -o out.efi"));
    world.write("tree/usr/lib/modules/6.12.1/vmlinuz", &other_stub);
    text += &world.refused(&format!("{LINE} -o out.efi"));
    std::fs::remove_file(world.path("tree/usr/lib/modules/6.12.1/vmlinuz")).unwrap();
    text += &world.refused(&format!("{LINE} -o out.efi"));
    text += &world
        .run(&["initrd -o out.efi --cmdline x", &format!("{LINE} --secure-boot-key x -o out.efi")]);
    assert_snapshot!(text);
    assert!(!world.path("out.efi").exists());
}

#[test]
fn a_key_that_does_not_fit_and_tools_that_are_not_there_are_one_error() {
    let world = world();
    key(&world, "db");
    key(&world, "other");
    let line =
        format!("{LINE} -o out.efi --secure-boot-key other.key --secure-boot-certificate db.crt");
    let output = world.command(&line).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: sbsign failed: error in key/certificate chain"), "{said}");
    assert!(said.contains("hint: name a key and the certificate"), "{said}");
    let long = "x".repeat(2048);
    let output = world.command(&format!("{LINE} -o out.efi --cmdline {long}")).output().unwrap();
    let mut text = String::from_utf8(output.stderr).unwrap();
    std::fs::create_dir(world.path("bin")).unwrap();
    let signed = "--secure-boot-key db.key --secure-boot-certificate db.crt";
    for program in ["nothing", "objcopy"] {
        if program != "nothing" {
            let found = world.shell(&format!("command -v {program}"));
            std::os::unix::fs::symlink(found.trim(), world.path("bin").join(program)).unwrap();
        }
        let mut command = world.command(&format!("{LINE} -o out.efi {signed}"));
        let output = command.env("PATH", world.path("bin")).output().unwrap();
        text += &String::from_utf8(output.stderr).unwrap();
    }
    assert_snapshot!(text);
    assert!(!world.path("out.efi").exists());
}
