//! What /etc/layerctl/layerctl.toml says of writes, frozen into generations.

use crate::state::{BOOT, State, report};
use layers::policy::Mode;
use tests::failure::Failure;
use tests::files;
use tests::vm::{Drive, Filesystem};

#[test]
fn a_policy_belongs_to_its_generation() -> Result<(), Failure> {
    let state = State::new("policy")?;
    let with = |policy: &str, words: &[&str]| -> Result<(), Failure> {
        let file = state.beside("layerctl.toml");
        files::write(&file, policy)?;
        let config = file.display().to_string();
        state.layerctl(&[&["--config", &config], words].concat()).map(drop)
    };
    let shared =
        "[writable.etc]\nscope = \"shared\"\n[writable.home]\nmode = \"frozen\"\nsize = \"32M\"\n";
    with(shared, &["policy", "apply"])?;
    let htop = state.artefacts().layer("htop")?.display().to_string();
    with(shared, &["install", &htop])?;
    let kiosk = ["etc", "var", "home"].map(|dir| format!("[writable.{dir}]\nmode = \"frozen\"\n"));
    with(&kiosk.concat(), &["policy", "apply"])?;
    state.layerctl(&["rollback", "3"])?;
    let disk = state.disk(Filesystem::Ext4)?;

    let mut guest = state.boot_with(Drive::writable(&disk), "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.check("echo 3 > /etc/mine; echo 3 > /home/mine; layerctl rollback 2")?;
    let size = shell.check("findmnt -no OPTIONS /run/initramfs/layers/ephemeral-home")?;
    assert!(size.contains("size=32768k"), "{size}");
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    assert_eq!(report(&mut shell)?.generation.to_string(), "2");
    assert_eq!(
        shell.check("cat /etc/mine /home/mine 2>/dev/null || true")?,
        "3",
        "one /etc for all"
    );
    shell.check("layerctl rollback 4")?;
    shell.reboot_kernel()?;

    let mut shell = guest.bare_shell(BOOT)?;
    let booted = report(&mut shell)?;
    assert_eq!((booted.generation.to_string().as_str(), booted.problems), ("4", vec![]));
    assert!(booted.writable.iter().all(|mount| mount.mode == Mode::Frozen));
    assert_eq!(
        shell.check("cat /etc/mine; touch /etc/new /var/new /home/new && echo written")?,
        "3\nwritten"
    );
    let state_fs = "/run/initramfs/layers/state";
    let access = shell.check(&format!("findmnt -no OPTIONS {state_fs}"))?;
    assert!(access.starts_with("ro,"), "{access}");
    shell.power_off_kernel()?;
    Ok(guest.wait_for_exit(BOOT)?)
}
