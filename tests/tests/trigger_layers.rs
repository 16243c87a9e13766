//! Trigger layers over the real base: layers that were built apart from each other make one system.
#![expect(clippy::disallowed_methods, reason = "reads manifests and records")]

use layers::generation::Generation;
use layers::manifest::Manifest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::artefacts::Artefacts;
use tests::failure::Failure;
use tests::files;
use tests::process;
use tests::workspace::Workspace;

/// A store with the base, and layers in it.
struct Scene {
    artefacts: Artefacts,
    place: TempDir,
    layers: Vec<PathBuf>,
}

impl Scene {
    fn new() -> Result<Self, Failure> {
        let workspace = Workspace::here();
        let artefacts = Artefacts::load(&workspace)?;
        let scene =
            Self { artefacts, place: TempDir::new_in(workspace.target())?, layers: Vec::new() };
        let mut copy = process::command("cp");
        process::run(copy.arg("-a").arg(&scene.artefacts.state).arg(scene.state()))?;
        Ok(scene)
    }

    fn state(&self) -> PathBuf {
        self.place.path().join("state")
    }

    /// Builds a layer of packages, with nothing under it but the base.
    fn packages(&mut self, name: &str, packages: &[&str]) -> Result<(), Failure> {
        let image = self.artefacts.package_layer(&Workspace::here(), name, packages)?;
        self.layers.push(image);
        Ok(())
    }

    /// Builds a layer of one file.
    fn file(&mut self, name: &str, path: &str, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let tree = self.place.path().join(name);
        let file = tree.join(path);
        files::make_dir(file.parent().unwrap())?;
        files::write(&file, bytes)?;
        let image = self.place.path().join(format!("{name}.img"));
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("build").arg(&tree).args(["--name", name, "--version", "1", "-o"]);
        process::run(command.arg(&image))?;
        self.layers.push(image);
        Ok(())
    }

    /// Installs all layers as generation 2.
    fn install(&self) -> Result<(), Failure> {
        let mut command = process::command(&self.artefacts.layerctl);
        command.arg("--root").arg(self.state()).arg("install").args(&self.layers);
        process::run(&mut command)?;
        let mounts = files::read_text(Path::new("/proc/self/mountinfo"))?;
        assert!(!mounts.contains(self.place.path().to_str().unwrap()), "{mounts}");
        Ok(())
    }

    /// The trigger layer's image.
    fn trigger(&self) -> Result<PathBuf, Failure> {
        let record = self.state().join("layerctl/generations/2/generation.toml");
        let generation = Generation::parse(&files::read_text(&record)?)?;
        let [trigger] = generation.triggers.as_slice() else { panic!("{generation}") };
        Ok(self.state().join(format!("layerctl/store/{}.img", trigger.digest.unwrap())))
    }

    /// What a script says in the union of all of it, as init would mount it.
    fn run(&self, script: &str) -> Result<String, Failure> {
        let mut images = vec![self.trigger()?];
        images.extend(self.layers.iter().rev().cloned());
        images.push(self.artefacts.base.clone());
        let mut command = process::command("unshare");
        command.args(["--mount", "--fork", "--pid", "sh", "-euc", UNION, "sh"]);
        let said = process::read(command.arg(self.place.path()).arg(script).args(images))?;
        Ok(String::from_utf8(said)?)
    }

    fn manifests(&self) -> Result<Vec<Manifest>, Failure> {
        let read = |image: &PathBuf| {
            Ok(Manifest::parse(&files::read_text(&image.with_extension("toml"))?)?)
        };
        self.layers.iter().map(read).collect()
    }
}

/// Mounts images on a tmpfs, topmost first, and runs a script in their union, where something may be written.
const UNION: &str = r#"
place=$1 script=$2; shift 2
mkdir -p "$place/union"; cd "$place/union"
mount -t tmpfs tmpfs .
cd "$place/union"
mkdir upper work root
lowers= number=0
for image; do
    number=$((number + 1)); mkdir $number; mount -o loop,ro "$image" $number
    lowers=$lowers${lowers:+:}$number
done
mount -t overlay -o "lowerdir=$lowers,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
mount -t tmpfs tmpfs root/tmp
mount --bind /dev/null root/dev/null 2>/dev/null || { mount -t tmpfs tmpfs root/dev; mknod -m 666 root/dev/null c 1 3; }
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot root sh -euc "$script"
"#;

/// A certificate authority of nobody, good for a hundred years.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBiDCCAS2gAwIBAgIUIaPBYrLeWFy6H8TVV72dxv95zuQwCgYIKoZIzj0EAwIw\n\
GDEWMBQGA1UEAwwNbGF5ZXJjdGwgdGVzdDAgFw0yNjExMjEyMjA0MDRaGA8yMTI2\n\
MTAyODIyMDQwNFowGDEWMBQGA1UEAwwNbGF5ZXJjdGwgdGVzdDBZMBMGByqGSM49\n\
AgEGCCqGSM49AwEHA0IABBwQzB8Acw68eN94U3yChEHomTvHHfQLXFuVDfEOr99g\n\
DNGZgmPhnrdfTQWR0n5jf+akxaV4Ykte1VN7ZuyxXHSjUzBRMB0GA1UdDgQWBBQ0\n\
wj09z3yteho2qyKaPfVsYyXeVzAfBgNVHSMEGDAWgBQ0wj09z3yteho2qyKaPfVs\n\
YyXeVzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0kAMEYCIQDRv4lyNHxr\n\
UfE1cdlAe4JrZKD169FWciM/F/d6bbAaUgIhANEpNZ3bHFAnhgF1n2jvU6DrnB2s\n\
Fi3kBIauFh/SjIos\n\
-----END CERTIFICATE-----\n";

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn layers_built_apart_are_one_system_with_one_package_database() -> Result<(), Failure> {
    let mut scene = Scene::new()?;
    scene.packages("avahi", &["avahi-daemon"])?;
    scene.packages("web", &["nginx"])?;
    scene.packages("json", &["jq"])?;
    scene.install()?;

    assert_eq!(scene.run("dpkg --audit")?, "");
    // Debian's resolver finds every dependency; it fails otherwise.
    scene.run("apt-get check")?;
    let list = "dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\\n'";
    let base = {
        let mut command = process::command("unshare");
        command.args(["--mount", "sh", "-euc", UNION, "sh"]).arg(scene.place.path());
        // An overlay has two lowers at least: an empty one is made of nothing.
        let alone = format!("dpkg-query --admindir=/var/lib/dpkg{}", &list["dpkg-query".len()..]);
        let said = process::read(command.arg(alone).arg(&scene.artefacts.base))?;
        lines(&String::from_utf8(said)?)
    };
    let manifests = scene.manifests()?;
    let added = manifests.iter().flat_map(|layer| layer.packages.iter().cloned());
    let expected: BTreeSet<String> = base.into_iter().chain(added).collect();
    assert_eq!(lines(&scene.run(list)?), expected, "exactly the packages that are there");
    let owners = scene.run("dpkg -S /usr/sbin/avahi-daemon /usr/sbin/nginx /usr/bin/jq")?;
    assert_eq!(
        owners,
        "avahi-daemon: /usr/sbin/avahi-daemon\nnginx: /usr/sbin/nginx\njq: /usr/bin/jq\n"
    );
    assert_eq!(scene.run("cat /var/lib/dpkg/triggers/nginx-reload")?, "nginx\n");

    let libraries = scene.run("ldconfig -p")?;
    for soname in manifests.iter().flat_map(|layer| &layer.links.provides) {
        assert!(libraries.contains(&format!("\t{soname} (")), "{soname} is not in {libraries}");
    }
    assert_eq!(scene.run("echo '{\"a\":[1,2]}' | jq -c .a")?, "[1,2]\n");
    let id = scene.run("id --user --name $(id --user avahi)")?;
    assert_eq!(id, "avahi\n");
    let shadow = scene.run("getent shadow avahi; stat --format '%a %U:%G' /etc/shadow")?;
    assert!(shadow.starts_with("avahi:!*:") && shadow.ends_with("640 root:shadow\n"), "{shadow}");

    // The same layers over the same base are known by the same bytes.
    let mut again = Scene::new()?;
    again.layers.clone_from(&scene.layers);
    again.install()?;
    assert!(files::read(&scene.trigger()?)? == files::read(&again.trigger()?)?);
    Ok(())
}

#[test]
fn caches_and_lists_of_all_layers_are_made_anew() -> Result<(), Failure> {
    let mut scene = Scene::new()?;
    scene.packages("ed", &["ed"])?;
    scene.packages("fonts", &["fontconfig", "fonts-dejavu-core"])?;
    scene.packages("authorities", &["ca-certificates"])?;
    scene.file("own-authority", "usr/local/share/ca-certificates/own.crt", AUTHORITY)?;
    // One of the kernel's own modules under another name.
    let kernel =
        process::read(process::command("ls").arg(scene.artefacts.tree.join("usr/lib/modules")))?;
    let kernel = String::from_utf8(kernel)?.trim().to_owned();
    let modules = scene.artefacts.tree.join(format!("usr/lib/modules/{kernel}"));
    let module = files::read(&modules.join("kernel/drivers/net/dummy.ko.xz"))?;
    scene.file("module", &format!("usr/lib/modules/{kernel}/updates/own.ko.xz"), module)?;
    scene.install()?;

    assert_eq!(scene.run("dpkg --audit")?, "");
    assert_eq!(scene.run("readlink -f /usr/bin/editor")?, "/usr/bin/ed\n");
    let query = scene.run("update-alternatives --query editor")?;
    assert!(query.contains("\nStatus: auto\nBest: /bin/ed\n"), "{query}");
    let own = scene.run("openssl verify /usr/local/share/ca-certificates/own.crt")?;
    assert_eq!(own, "/usr/local/share/ca-certificates/own.crt: OK\n");
    let bundle = scene.run("grep -c BEGIN /etc/ssl/certs/ca-certificates.crt")?;
    assert!(bundle.trim().parse::<u32>()? > 100, "{bundle}");
    let modules =
        scene.run(&format!("modinfo --set-version {kernel} --field filename own dummy"))?;
    let at = format!("/usr/lib/modules/{kernel}");
    assert!(
        modules.contains("/updates/own.ko.xz\n") && modules.contains("/dummy.ko.xz\n"),
        "{at}: {modules}"
    );
    // A cache that does not fit would be made anew, which takes a place to write it to.
    let fonts = scene.run("mount -o bind,ro /var /var 2>/dev/null; fc-cache --verbose --system-only | grep dejavu; fc-list")?;
    assert!(fonts.contains("dejavu: skipping, existing cache is valid: "), "{fonts}");
    assert!(fonts.contains("DejaVuSans.ttf: DejaVu Sans:style=Book"), "{fonts}");
    Ok(())
}
