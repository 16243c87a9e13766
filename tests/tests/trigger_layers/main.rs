//! Trigger layers over the real base: layers that were built apart from each other make one system.

// The attribute tells clippy that helpers are tests' code too.
#[cfg(test)]
mod scene;

use scene::Scene;
use std::collections::BTreeSet;
use tests::failure::Failure;
use tests::files;
use tests::process;

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
    scene.packages("avahi-daemon")?;
    scene.packages("nginx")?;
    scene.packages("json")?;
    scene.install()?;

    assert_eq!(scene.run("dpkg --audit")?, "");
    // Debian's resolver finds every dependency; it fails otherwise.
    scene.run("apt-get check")?;
    let list = "dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\\n'";
    let base = lines(&scene.run_in(std::slice::from_ref(&scene.artefacts.base), list)?);
    let manifests = scene.manifests()?;
    let added = manifests.iter().flat_map(|layer| layer.packages.iter().cloned());
    let expected: BTreeSet<String> = base.into_iter().chain(added).collect();
    assert_eq!(lines(&scene.run(list)?), expected, "exactly the packages that are there");
    let owners = scene.run("dpkg -S /usr/sbin/avahi-daemon /usr/sbin/nginx /usr/bin/jq")?;
    assert_eq!(
        owners,
        "avahi-daemon: /usr/sbin/avahi-daemon\nnginx: /usr/sbin/nginx\njq: /usr/bin/jq\n"
    );
    assert_eq!(scene.run("cat /var/lib/dpkg/triggers/nginx-reload")?, "nginx/noawait\n");

    let libraries = scene.run("ldconfig -p")?;
    let provided = manifests.iter().flat_map(|layer| &layer.links.provides);
    // Others are modules of one program.
    let provided: Vec<&String> = provided.filter(|soname| soname.starts_with("lib")).collect();
    assert!(provided.len() > 10, "{provided:?}");
    for soname in provided {
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
    scene.packages("ed")?;
    scene.packages("fonts")?;
    scene.packages("authorities")?;
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

#[test]
fn python_s_modules_of_two_layers_are_found_and_no_byte_code_comes_with_them() -> Result<(), Failure>
{
    let mut scene = Scene::new()?;
    // Each was built with an interpreter of its own, and scripts of both compiled what they brought.
    scene.packages("yaml")?;
    scene.packages("dnf")?;
    scene.install()?;
    assert_eq!(scene.run("find /usr /var /etc -name '*.pyc' -o -name __pycache__")?, "");
    // As in a booted system, where the interpreter cannot keep what it compiles.
    let script = "mount -o bind,ro /usr /usr; python3 -c 'import yaml, dnf
print(yaml.safe_load(\"a: [1, 2]\"), yaml.__with_libyaml__, dnf.const.PROGRAM_NAME)'";
    assert_eq!(scene.run(script)?, "{'a': [1, 2]} True dnf\n");
    let packages = "python3-yaml libpython3-stdlib python3-minimal python3-dnf libyaml-0-2";
    assert_eq!(scene.run(&format!("dpkg --verify {packages}; dpkg --audit"))?, "");
    // Where /var may be written, byte code can be kept there.
    let kept = "PYTHONPYCACHEPREFIX=/var/cache/python python3 -c 'import yaml'
test -f /var/cache/python/usr/lib/python3/dist-packages/yaml/__init__.cpython-3*.pyc";
    scene.run(kept)?;
    Ok(())
}

#[test]
fn packages_of_rpm_are_in_one_database_too() -> Result<(), Failure> {
    let mut scene = Scene::new()?;
    scene.packages("dnf")?;
    let spec = include_str!("../layer_packages/greeting.spec");
    files::write(&scene.path("greeting.spec"), spec)?;
    let top = format!("_topdir {}", scene.path("rpmbuild").display());
    let mut rpmbuild = process::command("rpmbuild");
    process::run(
        rpmbuild.args(["-bb", "--quiet", "--define", &top]).arg(scene.path("greeting.spec")),
    )?;
    for name in ["greeting-data", "greeting"] {
        let file = scene.path(&format!("rpmbuild/RPMS/noarch/{name}-1.0-1.noarch.rpm"));
        scene.rpm(name, &file)?;
    }
    scene.install()?;
    let all =
        scene.run("rpm --query --all | sort; rpm --verify greeting greeting-data; greeting")?;
    assert_eq!(all, "greeting-1.0-1.noarch\ngreeting-data-1.0-1.noarch\ngreeting\n");
    Ok(())
}
