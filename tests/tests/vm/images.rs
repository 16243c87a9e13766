//! Images of both kinds, many of them, and damaged ones.

use crate::state::{BOOT, State, overwrite, report};
use std::time::Duration;
use tests::failure::Failure;
use tests::files;
use tests::vm::Filesystem;

#[test]
fn squashfs_and_erofs_go_together_in_every_way() -> Result<(), Failure> {
    let state = State::new("images")?;
    let mut install = vec!["install".to_owned()];
    for format in ["squashfs", "erofs"] {
        let name = format!("on-{format}");
        let path = format!("usr/share/{name}/text");
        let image = state.build(
            &name,
            &[(&path, format), (&format!("etc/{name}"), format)],
            &["--format", format],
        )?;
        install.push(image.display().to_string());
    }
    state.layerctl(&install.iter().map(String::as_str).collect::<Vec<_>>())?;
    let erofs_base = state.artefacts().erofs_base.display().to_string();
    state.layerctl(&["base", "import", &erofs_base])?;
    let disk = state.disk(Filesystem::Ext4)?;
    for (generation, base) in [("2", "squashfs"), ("3", "erofs")] {
        let mut guest = state.boot(&disk, &format!("layers.generation={generation}"))?;
        let mut shell = guest.bare_shell(BOOT)?;
        assert_eq!(report(&mut shell)?.generation.to_string(), generation);
        let kinds =
            shell.check("awk '$3 ~ /squashfs|erofs/ {print $3}' /proc/mounts | sort | uniq -c")?;
        let kinds: Vec<_> = kinds.split_whitespace().collect();
        // The index is an EROFS image too.
        let expected = if base == "erofs" {
            ["3", "erofs", "1", "squashfs"]
        } else {
            ["2", "erofs", "2", "squashfs"]
        };
        assert_eq!(kinds, expected);
        for format in ["squashfs", "erofs"] {
            let text = shell.check(&format!("cat /usr/share/on-{format}/text /etc/on-{format}"))?;
            assert_eq!(text, [format, format].concat());
        }
        // The base's own programs, and writing beside what a layer has brought to /etc.
        shell.check("dpkg --version && echo x > /etc/on-erofs && echo x > /etc/new")?;
    }
    Ok(())
}

#[test]
fn a_hundred_and_twenty_eight_layers_are_all_visible() -> Result<(), Failure> {
    const COUNT: usize = 128;
    let state = State::new("images-128")?;
    let mut install = vec!["install".to_owned()];
    for number in 1..=COUNT {
        let name = format!("layer-{number:03}");
        let path = format!("usr/share/many/{name}");
        let image = state.build(&name, &[(&path, &format!("{name}\n"))], &[])?;
        install.push(image.display().to_string());
    }
    state.layerctl(&install.iter().map(String::as_str).collect::<Vec<_>>())?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "")?;
    let mut shell = guest.bare_shell(BOOT * 2)?;
    let report = report(&mut shell)?;
    assert_eq!((report.layers.len(), report.skipped.len()), (COUNT, 0));
    assert!(report.index.is_some(), "{:?}", report.problems);
    let all: Vec<_> = (1..=COUNT).map(|number| format!("layer-{number:03}")).collect();
    assert_eq!(shell.check("cat /usr/share/many/*")?.lines().collect::<Vec<_>>(), all);
    Ok(())
}

#[test]
fn verify_finds_flipped_bits_in_the_guest() -> Result<(), Failure> {
    let state = State::new("images-flipped")?;
    state.install(&["htop", "jq"])?;
    let image = state.image(2, Some("htop"))?;
    let middle = files::size(&image)? / 2;
    let mut flipped = files::read(&image)?[usize::try_from(middle)?..][..16].to_vec();
    flipped.iter_mut().for_each(|byte| *byte ^= 0x10);
    overwrite(&image, middle, &flipped)?;
    let disk = state.disk(Filesystem::Ext4)?;
    let mut guest = state.boot(&disk, "")?;
    let mut shell = guest.bare_shell(BOOT)?;
    shell.set_deadline(Duration::from_secs(180));
    let reply = shell.run("layerctl verify")?;
    assert_eq!(reply.status, 1, "{}", reply.output);
    let verdicts = |word: &str| reply.output.lines().filter(|line| line.starts_with(word)).count();
    // The base with its kernel and initrd, the other layer, the trigger layer, and the index.
    assert_eq!((verdicts("good"), verdicts("damaged")), (6, 1), "{}", reply.output);
    assert!(
        reply.output.contains("htop 3.") && reply.output.contains("hint: "),
        "{}",
        reply.output
    );
    Ok(())
}
