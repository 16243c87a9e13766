//! Repositories on a real nginx, over connections that are cut, proxied, encrypted or endless. All of it on loopback.

use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering;

use insta::{Settings, assert_snapshot};

use crate::server::{Nginx, Relay, serve};
use crate::world::{World, render};

/// A world with a base and a repository in `served`: `htop 3.4`, and `big 1` of some megabytes.
fn served() -> World {
    let world = World::with_base();
    fs::create_dir(world.path("served")).unwrap();
    add(&world, "htop", "3.4");
    world.shell("mkdir -p big-1/usr; head -c 2500000 /dev/urandom >big-1/usr/x");
    world.done("build big-1 --name big --version 1 -o served/big_1.img");
    world.done("repo index served");
    world
}

fn add(world: &World, name: &str, version: &str) {
    let tree = world.layer_tree(name, version);
    world.done(&format!(
        "build {tree} --name {name} --version {version} -o served/{name}_{version}.img"
    ));
}

/// What nginx was asked for, one line each.
fn asked(world: &World) -> String {
    String::from_utf8(world.read("access.log")).unwrap()
}

fn parts(world: &World) -> Vec<std::path::PathBuf> {
    let store = world.store().into_keys();
    store.filter(|path| path.to_string_lossy().contains("/.tmp-")).collect()
}

/// Types a line with variables of the environment; ports are not shown.
fn with(world: &World, variables: &[(&str, &str)], line: &str) -> String {
    let mut command = world.command(line);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.envs(variables.iter().copied());
    render(line, &command.output().unwrap())
}

fn run(world: &World, lines: &[&str]) -> String {
    lines.iter().map(|line| with(world, &[], line)).collect()
}

/// Hides ports and kernels' numbers of errors.
fn hidden() -> insta::internals::SettingsBindDropGuard {
    let mut settings = Settings::clone_current();
    settings.add_filter(r"(127\.0\.0\.1|localhost):\d+", "$1:[port]");
    settings.add_filter(r"after \d+ of", "after [n] of");
    settings.bind_to_scope()
}

#[test]
fn a_repository_on_a_server_is_used() {
    let (world, _hidden) = (served(), hidden());
    let nginx = Nginx::start(&world, "");
    let url = nginx.url();
    let mut text = run(
        &world,
        &[
            &format!("repo add main {url}"),
            "search",
            "install htop",
            &format!("install {url}/big_1.img"),
            &format!("install {url}/none_1.img"),
            "upgrade --check",
        ],
    );
    add(&world, "htop", "3.5");
    world.done("repo index served");
    text += &run(&world, &["upgrade --check", "upgrade", "upgrade --check", "status"]);
    assert_snapshot!(text);
    assert_eq!(parts(&world), Vec::<std::path::PathBuf>::new());
    let log = asked(&world);
    assert_eq!(log.matches("/htop_3.5.img 200").count(), 1, "{log}");
    assert!(log.contains("/layers.toml 304"), "{log}");
}

#[test]
fn a_poll_of_an_unchanged_repository_costs_less_than_a_kibibyte() {
    let world = served();
    let nginx = Nginx::start(&world, "");
    let relay = Relay::start(nginx.port, u64::MAX);
    let added = with(&world, &[], &format!("repo add main http://127.0.0.1:{}", relay.port));
    assert!(added.contains("exit 0"), "{added}");
    for line in ["repo refresh", "upgrade --check", "search"] {
        let before = relay.bytes.load(Ordering::SeqCst);
        let connections = relay.connections.load(Ordering::SeqCst);
        with(&world, &[], line);
        let bytes = relay.bytes.load(Ordering::SeqCst) - before;
        assert!(bytes > 0 && bytes < 1024, "{line}: {bytes} bytes");
        assert_eq!(relay.connections.load(Ordering::SeqCst), connections + 1, "{line}");
        println!("{line}: {bytes} bytes");
    }
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_stopped() {
    let (world, _hidden) = (served(), hidden());
    let nginx = Nginx::start(&world, "");
    let relay = Relay::start(nginx.port, 300_000);
    let url = format!("http://127.0.0.1:{}", relay.port);
    let mut text = with(&world, &[], &format!("repo add main {url}"));
    // Some cuts are borne, but not this many in a row.
    text += &with(&world, &[], "install big");
    assert_eq!(world.images().len(), 1, "no part has a final name");
    let first = asked(&world);
    text += &with(&world, &[], "install big");
    assert_snapshot!(text);
    assert_eq!(world.images().len(), 3, "the base, the layer, and the index of both");
    assert_eq!(parts(&world), Vec::<std::path::PathBuf>::new());
    let log = asked(&world);
    let ranges: Vec<&str> =
        log.lines().filter(|line| line.contains("/big_1.img 206 bytes=")).collect();
    assert!(ranges.len() > 6 && ranges.iter().all(|line| line.ends_with("\\x22")), "{log}");
    assert_eq!(log.matches("/big_1.img 200").count(), 1, "{log}");
    let second = log.strip_prefix(&first).unwrap();
    assert!(second.contains("/big_1.img 206 bytes=1"), "the second run began anew: {second}");
}

#[test]
fn a_file_that_changed_between_two_parts_is_got_from_its_beginning() {
    let world = served();
    let nginx = Nginx::start(&world, "");
    let relay = Relay::start(nginx.port, 300_000);
    // Nobody declares a digest: the entity tag alone tells that it is another file.
    world.shell("rm served/*.toml; mv served/big_1.img served/big_1_x86-64.raw");
    let line = format!("install http://127.0.0.1:{}/big_1_x86-64.raw", relay.port);
    let text = with(&world, &[], &line);
    assert!(text.contains("was cut off") && !parts(&world).is_empty(), "{text}");
    let before = world.read("served/big_1_x86-64.raw");
    world.shell(
        "head -c 600000 /dev/urandom >big-1/usr/x; rm served/big_1_x86-64.raw
         mksquashfs big-1 served/big_1_x86-64.raw -quiet -no-progress -all-root >/dev/null",
    );
    let after = world.read("served/big_1_x86-64.raw");
    let text = with(&world, &[], &line);
    assert!(text.contains("added big 1"), "{text}");
    let stored = world.images().into_iter().map(|path| fs::read(path).unwrap());
    let stored: Vec<Vec<u8>> = stored.filter(|bytes| bytes.len() > 500_000).collect();
    assert!(stored == [after] && stored != [before], "it is the new file, whole");
    let log = asked(&world);
    let again: Vec<&str> = log.lines().filter(|line| line.contains(" 200 bytes=")).collect();
    assert_eq!(again.len(), 1, "If-Range does not hold for the new file: {log}");
}

#[test]
fn what_a_server_does_wrong_is_refused() {
    let (world, _hidden) = (served(), hidden());
    let nginx = Nginx::start(
        &world,
        "location /odd/ { return 503; } location /round/ { return 302 /round/again; } \
         location /away/ { return 301 http://127.0.0.1:PORT/; } location /up/ { rewrite ^/up/(.*) /$1 redirect; }",
    );
    let url = nginx.url();
    let mut text = run(
        &world,
        &[
            &format!("repo add main {url}/none"),
            &format!("repo add main {url}/odd"),
            &format!("repo add main {url}/round"),
            &format!("repo add main {url}/up"),
        ],
    );
    // Another file than the index tells.
    let mut other = world.read("served/htop_3.4.img");
    *other.last_mut().unwrap() ^= 1;
    world.write("served/htop_3.4.img", &other);
    text += &run(&world, &["install htop"]);
    fs::remove_file(world.path("served/htop_3.4.img")).unwrap();
    text += &run(&world, &["install htop"]);
    drop(nginx);
    text += &run(&world, &["install htop", "repo refresh"]);
    assert_snapshot!(text);
    assert_eq!(parts(&world), Vec::<std::path::PathBuf>::new());
    assert_eq!(world.images().len(), 1);
}

#[test]
fn bytes_without_end_are_refused() {
    let (world, _hidden) = (served(), hidden());
    let index = world.read("served/layers.toml");
    let port = serve(move |head, client| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if path.ends_with("layers.toml") {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", index.len());
            let _ = client.write_all(head.as_bytes()).and_then(|()| client.write_all(&index));
            return;
        }
        let _ = match path.as_str() {
            path if path.ends_with(".toml") => {
                client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            }
            _ => client.write_all(b"HTTP/1.1 200 OK\r\n\r\n"),
        };
        while !path.ends_with(".toml") && client.write_all(&[0; 65536]).is_ok() {}
    });
    let text = run(
        &world,
        &[
            &format!("repo add main http://127.0.0.1:{port}"),
            "install htop",
            &format!("install http://127.0.0.1:{port}/endless_1.img"),
        ],
    );
    assert_snapshot!(text);
    assert_eq!(parts(&world), Vec::<std::path::PathBuf>::new());
}

#[test]
fn proxies_of_the_environment_are_used() {
    let (world, _hidden) = (served(), hidden());
    let nginx = Nginx::start(&world, "");
    // nginx takes a request in absolute form as a proxy does, whatever the host is.
    let proxy = nginx.url();
    let tunnel = Relay::start(nginx.tls, u64::MAX);
    let secure = format!("http://127.0.0.1:{}", tunnel.port);
    let ca = world.path("ca.pem");
    let ca = ca.to_str().unwrap();
    let mut text = with(&world, &[("http_proxy", &proxy)], "repo add plain http://repo.test/");
    text += &with(&world, &[("HTTP_PROXY", &proxy)], "install htop");
    let direct = [("http_proxy", "http://127.0.0.1:1"), ("no_proxy", "127.0.0.1")];
    text += &with(&world, &direct, &format!("repo add direct {}", nginx.url()));
    text += &with(&world, &direct[..1], "repo refresh direct");
    let variables = [("https_proxy", secure.as_str()), ("SSL_CERT_FILE", ca)];
    text += &with(&world, &variables, "repo add secure https://repo.test/");
    text +=
        &with(&world, &[("all_proxy", "socks5://127.0.0.1:1")], "repo add socks http://repo.test/");
    assert_snapshot!(text);
    assert_eq!(*tunnel.tunnels.lock().unwrap(), ["CONNECT repo.test:443 HTTP/1.1"]);
}

#[test]
fn encrypted_connections_are_trusted_by_the_system_s_authorities() {
    let (world, _hidden) = (served(), hidden());
    let nginx = Nginx::start(
        &world,
        "location /away/ { return 301 http://127.0.0.1:PORT/; } location /home/ { return 301 https://localhost:TLS/layers.toml; }",
    );
    let url = format!("https://localhost:{}", nginx.tls);
    let ca = world.path("ca.pem");
    let trusted = [("SSL_CERT_FILE", ca.to_str().unwrap())];
    world.write("none.pem", "");
    let mut text = with(&world, &[], &format!("repo add main {url}"));
    text += &with(&world, &trusted, &format!("repo add main {url}"));
    text += &with(&world, &trusted, "install htop");
    text += &with(&world, &trusted, &format!("repo add away {url}/away"));
    text += &with(&world, &trusted, &format!("repo add home {}/home", nginx.url()));
    let none = world.path("none.pem");
    let nobody = [("SSL_CERT_FILE", none.to_str().unwrap()), ("SSL_CERT_DIR", "/nonexistent")];
    text += &with(&world, &nobody, "repo refresh main");
    assert_snapshot!(text);
}

#[test]
fn a_disk_that_fills_up_during_a_download_is_given_back() {
    let (world, _hidden) = (served(), hidden());
    let index = world.read("served/layers.toml");
    let image = world.read("served/big_1.img");
    world.shell("mkfifo half go; mv state saved; mkdir state");
    let (half, go) = (world.path("half"), world.path("go"));
    let port = serve(move |head, client| {
        let body: &[u8] = if head.contains("layers.toml") { &index } else { &image };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let middle = body.len() / 2;
        let first =
            client.write_all(head.as_bytes()).and_then(|()| client.write_all(&body[..middle]));
        if first.is_ok() && body.len() == image.len() {
            // The disk is filled between these two.
            fs::write(&half, "x").unwrap();
            fs::read(&go).unwrap();
        }
        let _ = client.write_all(&body[middle..]);
    });
    world.write(
        "script",
        format!(
            "exec 2>&1; mount -t tmpfs -o size=6m none state; cp -a saved/. state\n\
             layerctl --root state repo add main http://127.0.0.1:{port}\n\
             list() {{ find state -not -name lock | sort; }}; list >before\n\
             layerctl --root state install big & cat half >/dev/null\n\
             part=state/layerctl/store/.tmp-get-*/image.img\n\
             until test $(stat -c %s $part) -gt 500000; do :; done; cat /dev/zero >state/filler 2>/dev/null || true\n\
             echo >go; wait $! || echo \"--- exit $?\"; rm state/filler\n\
             if list | cmp -s before -; then echo '--- the store is as it was'; else list; fi"
        ),
    );
    assert_snapshot!(world.shell("unshare -m --propagation private sh -eu script"));
}
