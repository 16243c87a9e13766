//! Tests in namespaces of their own: what they mount is seen by nobody else and gone with them.

use std::process::Command;

/// How deep in namespaces this process is; set for the children that [`inside`] starts.
const DEPTH: &str = "LAYERS_TEST_NAMESPACE";

/// Which namespaces a test wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// User and mount namespace: anybody may have them, and has no privilege over devices.
    Unprivileged,
    /// A mount namespace alone: for root.
    Privileged,
}

/// How many namespaces this process was put into.
pub(crate) fn depth() -> usize {
    std::env::var(DEPTH).map_or(0, |depth| depth.parse().unwrap())
}

/// Whether the test `name` runs in its namespaces; where not, runs it there in a child, to the depth wanted.
pub(crate) fn inside(name: &str, namespace: Namespace, wanted: usize) -> bool {
    let depth = depth();
    if depth == wanted {
        return true;
    }
    if namespace == Namespace::Privileged && !nix::unistd::geteuid().is_root() {
        eprintln!("{name}: left out: loop devices and image mounts want root");
        return false;
    }
    let user: &[&str] = match namespace {
        Namespace::Unprivileged => &["--user", "--map-root-user"],
        Namespace::Privileged => &[],
    };
    let output = Command::new("unshare")
        .args(user)
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(DEPTH, (depth + 1).to_string())
        .output()
        .expect("unshare is not installed: apt-get install util-linux");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "in its namespace (needs kernel.unprivileged_userns_clone=1 where that exists):\n{text}"
    );
    false
}
