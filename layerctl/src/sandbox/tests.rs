//! Runs as root, on trees made of busybox; process 1 of each sandbox is the ignored test `init` of this same program.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{Bind, Lower, Sandbox};
use layers::superblock::Format;

/// What the test program itself writes before and after a test's own words.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let words =
        text.split_once("sandbox::tests::init ... ").unwrap_or_else(|| panic!("{output:?}"));
    words.1.to_owned()
}

#[test]
#[ignore = "process 1 of the other tests' sandboxes"]
fn init() {
    super::main();
    std::process::exit(0);
}

/// A base with a shell, a layer over it, an empty upper.
fn sandbox(directory: &TempDir) -> Sandbox {
    let path = |name: &str| directory.path().join(name);
    for name in ["upper", "work", "layer/usr/share", "base/bin"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    for name in ["dev", "etc", "proc", "run", "tmp", "root"] {
        fs::create_dir_all(path("base").join(name)).unwrap();
    }
    fs::copy("/bin/busybox", path("base/bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", path("base/bin/sh")).unwrap();
    fs::write(path("base/etc/who"), "base").unwrap();
    fs::write(path("layer/usr/share/note"), "layer").unwrap();
    Sandbox {
        lowers: vec![Lower::Directory(path("layer")), Lower::Directory(path("base"))],
        upper: path("upper"),
        work: path("work"),
        binds: Vec::new(),
        network: false,
        epoch: Some(7),
    }
}

fn shell(sandbox: &Sandbox, script: &str) -> String {
    let output = sandbox.run("/bin/sh", &["-euc", script], &[]).unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    said(&output)
}

fn entries(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            found.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_program_sees_the_union_and_the_upper_gets_what_it_writes() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&directory);
    assert_eq!(
        shell(&sandbox, "busybox cat /etc/who /usr/share/note; echo x >/etc/new"),
        "baselayer"
    );
    // Neither mount points nor policy-rc.d.
    assert_eq!(entries(&sandbox.upper), ["etc", "etc/new"]);
    assert_eq!(shell(&sandbox, "busybox cat /etc/new"), "x\n", "a second run sees it");
    let answer = sandbox.run("/usr/sbin/policy-rc.d", &[], &[]).unwrap();
    assert_eq!(answer.status.code(), Some(101));
    let refused = sandbox.run("/bin/sh", &["-c", "echo >/usr/sbin/policy-rc.d"], &[]).unwrap();
    assert!(!refused.status.success());
    assert_eq!(entries(&sandbox.upper), ["etc", "etc/new"]);
    // A directory that is copied up is the base's own, though a lower of the sandbox's is over it.
    let times = [&sandbox.upper, &directory.path().join("base")]
        .map(|at| fs::metadata(at.join("etc")).unwrap().mode());
    assert_eq!(times[0], times[1]);
}

#[test]
fn images_are_lowers_too() {
    for (format, program) in [(Format::Squashfs, "mksquashfs"), (Format::Erofs, "mkfs.erofs")] {
        let directory = tempfile::tempdir().unwrap();
        let mut sandbox = sandbox(&directory);
        let image = directory.path().join("base.img");
        let base = directory.path().join("base");
        let (first, second) =
            if format == Format::Erofs { (&image, &base) } else { (&base, &image) };
        let made = Command::new(program).arg(first).arg(second).output().unwrap();
        assert!(made.status.success());
        sandbox.lowers[1] = Lower::Image { path: image, format };
        assert_eq!(shell(&sandbox, "busybox cat /etc/who /usr/share/note"), "baselayer");
        assert!(sandbox.has("/bin/sh").unwrap() && sandbox.has("bin/busybox").unwrap());
        assert!(sandbox.has("/usr/share/note").unwrap() && !sandbox.has("/bin/ls").unwrap());
    }
}

#[test]
fn the_machine_is_not_set_through_proc() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&directory);
    let seen = shell(
        &sandbox,
        "for at in sys/kernel/core_pattern sys/kernel/hostname sysrq-trigger; do
            if echo x >/proc/$at; then echo $at is written; fi 2>/dev/null
        done; busybox head -c 1 /proc/sys/kernel/ostype",
    );
    assert_eq!(seen, "L");
}

#[test]
fn nothing_of_the_host_is_seen_or_reached() {
    let directory = tempfile::tempdir().unwrap();
    let mut sandbox = sandbox(&directory);
    let script = "busybox ls /; busybox hostname; busybox ip -o link | busybox wc -l; \
        busybox env | busybox sort; busybox cat | busybox wc -c";
    let seen = shell(&sandbox, script);
    let want = "bin\ndev\netc\nproc\nroot\nrun\ntmp\nusr\nlayerctl\n1\n";
    assert!(seen.starts_with(want), "{seen}");
    assert!(
        seen.contains("DEBIAN_FRONTEND=noninteractive\nHOME=/root\nLC_ALL=C.UTF-8\n"),
        "{seen}"
    );
    assert!(seen.contains("SOURCE_DATE_EPOCH=7\n") && !seen.contains("CARGO"), "{seen}");
    assert!(seen.ends_with("\n0\n"), "standard input: {seen}");
    let mounts =
        shell(&sandbox, "while read -r source at kind rest; do echo $at $kind; done </proc/mounts");
    let devices = ["null", "zero", "full", "random", "urandom", "tty"];
    let known = |line: &str| {
        let (at, kind) = line.split_once(' ').unwrap();
        let virtual_ones = [
            "/ overlay",
            "/proc proc",
            "/run tmpfs",
            "/tmp tmpfs",
            "/dev tmpfs",
            "/dev/pts devpts",
        ];
        virtual_ones.contains(&line)
            || at == "/usr/sbin/policy-rc.d"
            || at.starts_with("/proc/") && kind == "proc"
            || at
                .strip_prefix("/dev/")
                .is_some_and(|name| devices.contains(&name) && kind != "ext4")
    };
    assert!(mounts.lines().all(known), "{mounts}");
    sandbox.network = true;
    let links = shell(&sandbox, "busybox ip -o link | busybox wc -l");
    let host = Command::new("busybox").args(["ip", "-o", "link"]).output().unwrap();
    assert_eq!(
        links.trim(),
        host.stdout.split(|&b| b == b'\n').filter(|l| !l.is_empty()).count().to_string()
    );
    assert_eq!(entries(&sandbox.upper), [""; 0], "no resolv.conf");
}

#[test]
fn privileges_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let status = shell(&sandbox(&directory), "busybox cat /proc/self/status");
    let value = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap()
            .trim_start_matches(':')
            .trim()
            .to_owned()
    };
    // chown 0, dac_override 1, fowner 3, fsetid 4, kill 5, setgid 6, setuid 7, sys_chroot 18, setfcap 31.
    let kept = "00000000800400fb";
    assert_eq!([value("CapBnd"), value("CapEff"), value("CapPrm")], [kept; 3]);
    assert_eq!([value("CapInh"), value("CapAmb")], ["0000000000000000"; 2]);
    assert_eq!(value("NoNewPrivs"), "1");
}

#[test]
fn binds_are_seen_where_the_images_have_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut sandbox = sandbox(&directory);
    let cache = directory.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("deb"), "d").unwrap();
    let bind = |to: &str, read_only| Bind { from: cache.clone(), to: to.into(), read_only };
    sandbox.binds = vec![
        bind("/var/cache/layerctl/debs", true),
        bind("/run/cache", false),
        Bind { from: cache.join("deb"), to: "/etc/who".into(), read_only: true },
    ];
    let text = shell(
        &sandbox,
        "busybox cat /var/cache/layerctl/debs/deb /etc/who; echo w >/run/cache/written",
    );
    assert_eq!(text, "dd");
    assert_eq!(fs::read_to_string(cache.join("written")).unwrap(), "w\n");
    let refused = sandbox.run("/bin/sh", &["-c", "echo >/var/cache/layerctl/debs/x"], &[]).unwrap();
    assert!(!refused.status.success());
    assert_eq!(entries(&sandbox.upper), [""; 0]);
}

#[test]
fn how_a_program_ends_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&directory);
    let output =
        sandbox.run("sh", &["-c", "echo out; echo err >&2; exit 9"], &[("A", "b")]).unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(9), "out\n"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
    let killed = sandbox.run("sh", &["-c", "kill -9 $$"], &[]).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9));
    let missing = sandbox.run("/no/program", &[], &[]).unwrap_err().to_string();
    assert_eq!(missing, "start /no/program: No such file or directory (os error 2)");
    let mut broken = sandbox.clone();
    broken.lowers.push(Lower::Directory("/no/lower".into()));
    assert!(broken.run("sh", &[], &[]).unwrap_err().to_string().contains("/no/lower"));
    // What a program leaves running ends with it.
    sandbox.run("sh", &["-c", "busybox sleep 1000 & exit 0"], &[]).unwrap();
}

#[test]
fn nothing_stays_mounted_when_a_sandbox_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let sandbox = sandbox(&directory);
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let spec = serde_json::to_string(&Sandbox {
        binds: vec![Bind { from: fifo.clone(), to: "/run/fifo".into(), read_only: false }],
        ..sandbox
    })
    .unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--test-threads=1", "sandbox::tests::killed"])
        .env("SANDBOX", spec)
        .spawn()
        .unwrap();
    // Opens when the program has it open too; reads to its end when no process of the sandbox is left.
    let mut opened = fs::File::open(&fifo).unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(&mut opened, &mut byte).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    std::io::copy(&mut opened, &mut std::io::sink()).unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()), "{mounts}");
}

#[test]
#[ignore = "the process that another test kills"]
fn killed() {
    let sandbox: Sandbox = serde_json::from_str(&std::env::var("SANDBOX").unwrap()).unwrap();
    let script = "exec 3>/run/fifo; echo >&3; busybox sleep 1000";
    sandbox.run("sh", &["-c", script], &[]).unwrap();
}
