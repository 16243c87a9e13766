//! The files that decide who may do what. A layer that brings one of them, or hides it, says so in its grants.
//!
//! What runs as root because the system starts it (units, rules of udev, tmpfiles, cron) is not on the list as long as it is new:
//! a layer that brings a service is trusted with that. What takes the place of the base's own is on it.

use super::pattern;

/// Files that need a grant wherever a layer brings them, whether or not there is one below.
const ALWAYS: [&str; 87] = [
    // Which code every program runs.
    "etc/ld.so.*",
    "etc/ld.so.conf.d/**",
    "usr/lib*/ld-*.so*",
    "usr/lib*/*/ld-*.so*",
    "usr/lib*/ld*64.so*",
    "usr/lib*/**/libc.so.6",
    "usr/lib*/**/libc-*.so",
    "usr/lib*/**/libpthread.so*",
    "usr/lib*/**/libcrypt.so*",
    "usr/lib*/**/libpam*.so*",
    "usr/lib*/**/libnss_*.so*",
    "usr/lib*/**/libcap.so*",
    "usr/lib*/**/libaudit.so*",
    "usr/lib*/**/libselinux.so*",
    "usr/lib*/**/libsystemd*.so*",
    "usr/lib*/**/security/pam_*.so",
    // Who there is, and how they log in.
    "etc/passwd*",
    "etc/shadow*",
    "etc/group*",
    "etc/gshadow*",
    "etc/subuid*",
    "etc/subgid*",
    "etc/login.defs",
    "etc/nsswitch.conf",
    "etc/securetty",
    "etc/security/**",
    "etc/pam.conf",
    "etc/pam.d/**",
    "usr/lib/pam.d/**",
    "usr/lib/userdb/**",
    "etc/userdb/**",
    "etc/environment",
    "etc/profile",
    "root/**",
    "home/**",
    // Who may become whom.
    "etc/sudoers",
    "etc/sudoers.d/**",
    "etc/sudo.conf",
    "etc/sudo_logsrvd.conf",
    "usr/libexec/sudo/**",
    "usr/lib/sudo/**",
    "etc/doas.conf",
    "etc/polkit-1/**",
    "usr/share/polkit-1/rules.d/**",
    "usr/lib/polkit-1/**",
    "usr/*bin/{sudo}",
    "usr/local/*bin/{sudo}",
    // Who comes in from outside.
    "etc/ssh/**",
    "etc/crypttab",
    "etc/fstab",
    "etc/hosts.equiv",
    // Who starts everything.
    "usr/lib/systemd/systemd",
    "usr/lib/systemd/systemd-*",
    "usr/lib/systemd/libsystemd-*",
    "usr/lib/systemd/*-generators/**",
    "etc/systemd/*-generators/**",
    "usr/local/lib/systemd/**",
    "usr/lib/systemd/system-shutdown/**",
    "usr/lib/systemd/system.conf.d/**",
    "etc/systemd/system.conf",
    "etc/systemd/system.conf.d/**",
    "etc/systemd/logind.conf*",
    "etc/systemd/system.control/**",
    "etc/systemd/system.attached/**",
    "usr/lib/systemd/system-preset/**",
    "etc/systemd/system-preset/**",
    "usr/lib/binfmt.d/**",
    "etc/binfmt.d/**",
    "etc/rc.local",
    "etc/inittab",
    // What the machine boots, and what it is.
    "boot/**",
    "efi/**",
    "usr/lib/modules/*/vmlinuz*",
    "usr/lib/modules/*/modules.*",
    "usr/lib/os-release",
    "etc/os-release",
    "usr/lib/initrd-release",
    "etc/machine-id",
    // What changes and checks it.
    "usr/lib/layerctl/**",
    "etc/layerctl/**",
    "usr/lib/systemd/system/layerctl*",
    "etc/systemd/system/layerctl*",
    "layerctl/**",
    "run/**",
    "proc/**",
    "sys/**",
    "dev/**",
];

/// Programs that become somebody, let somebody in, or are run by those that do; in the directories of `{sudo}` above.
const PROGRAMS: [&str; 34] = [
    "sudo",
    "sudoedit",
    "sudoreplay",
    "visudo",
    "su",
    "doas",
    "pkexec",
    "run0",
    "login",
    "sulogin",
    "agetty",
    "getty",
    "passwd",
    "chpasswd",
    "chsh",
    "chfn",
    "chage",
    "newgrp",
    "gpasswd",
    "unix_chkpwd",
    "unix_update",
    "sshd",
    "mount",
    "umount",
    "fusermount3",
    "init",
    "systemctl",
    "ldconfig",
    "ld.so",
    "layerctl",
    "sh",
    "bash",
    "dash",
    "env",
];

/// Files that need a grant where they take the place of one below.
const REPLACED: [&str; 19] = [
    "usr/lib/systemd/**",
    "etc/systemd/**",
    "usr/lib/udev/**",
    "etc/udev/**",
    "usr/lib/tmpfiles.d/**",
    "usr/lib/sysusers.d/**",
    "usr/lib/sysctl.d/**",
    "usr/lib/modprobe.d/**",
    "usr/lib/modules-load.d/**",
    "usr/lib/modules/**",
    "etc/cron*/**",
    "etc/crontab",
    "etc/profile.d/**",
    "etc/ssl/**",
    "etc/pki/**",
    "etc/apparmor*/**",
    "etc/selinux/**",
    "usr/share/dbus-1/**",
    "usr/share/polkit-1/**",
];

/// Names in the root that are links into /usr on a base with a merged /usr (file-hierarchy(7)).
const MERGED: [&str; 6] = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"];

/// Where systemd looks for units of the system that an image may bring (systemd.unit(5)).
pub const UNITS: [&str; 2] = ["usr/lib/systemd/system", "etc/systemd/system"];

/// Where layers keep what belongs into files that packages share, each in a directory of its name.
const FRAGMENTS: &str = "usr/lib/layerctl/layers/";

/// A path as it is on a base whose /bin, /lib and /sbin are links into /usr.
pub(super) fn merged(path: &[u8]) -> Vec<u8> {
    let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    let moved = MERGED.iter().any(|name| name.as_bytes() == first);
    [if moved { b"usr/".as_slice() } else { b"" }, path].concat()
}

/// Whether a path, without a leading slash, is one of a file that decides who may do what.
pub fn is_protected(path: &[u8]) -> bool {
    any(path, pattern::matches)
}

/// Whether such a file may lie below a directory.
pub(super) fn has_protected(directory: &[u8]) -> bool {
    any(directory, pattern::matches_below)
}

/// Whether a path is that of something which needs a grant where it is below.
pub(super) fn is_protected_below(path: &[u8]) -> bool {
    let path = merged(path);
    REPLACED.iter().any(|pattern| pattern::matches(pattern.as_bytes(), &path))
}

/// Whether a path lies in the directory where the layer `name` keeps what is its own.
pub(super) fn is_own(path: &[u8], name: &str) -> bool {
    let rest = path.strip_prefix(FRAGMENTS.as_bytes());
    rest.and_then(|rest| rest.strip_prefix(name.as_bytes()))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn any(path: &[u8], matches: fn(&[u8], &[u8]) -> bool) -> bool {
    let path = merged(path);
    ALWAYS.iter().any(|pattern| match pattern.strip_suffix("{sudo}") {
        None => matches(pattern.as_bytes(), &path),
        Some(directory) => PROGRAMS
            .iter()
            .any(|program| matches(format!("{directory}{program}").as_bytes(), &path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_decide_are_protected_under_all_their_names() {
        let yes = [
            "usr/bin/sudo",
            "bin/su",
            "sbin/init",
            "usr/local/sbin/login",
            "etc/ld.so.preload",
            "etc/pam.d/sshd",
            "lib64/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libc.so.6",
            "usr/lib/x86_64-linux-gnu/security/pam_unix.so",
            "root/.ssh/authorized_keys",
            "etc/sudoers.d/90-me",
            "etc/ssh/sshd_config.d/x.conf",
            "usr/lib/layerctl/layers-init",
            "etc/layerctl/trust",
            "usr/lib/os-release",
            "boot/vmlinuz",
            "etc/shadow-",
        ];
        for path in yes {
            assert!(is_protected(path.as_bytes()), "{path}");
        }
        let no = [
            "usr/bin/htop",
            "usr/bin/sudoku",
            "etc/hosts",
            "usr/lib/x86_64-linux-gnu/libjq.so.1",
            "opt/app/bin/sudo",
            "usr/lib/systemd/system/app.service",
            "usr/share/doc/sudo",
        ];
        for path in no {
            assert!(!is_protected(path.as_bytes()), "{path}");
        }
        assert!(has_protected(b"etc") && has_protected(b"usr/bin") && has_protected(b"etc/pam.d"));
        assert!(!has_protected(b"opt") && !has_protected(b"usr/share/doc"));
    }

    #[test]
    fn a_layer_has_a_directory_of_its_own() {
        assert!(is_own(b"usr/lib/layerctl/layers/vim/dpkg-status", "vim"));
        assert!(
            !is_own(b"usr/lib/layerctl/layers/vim2/x", "vim")
                && !is_own(b"usr/lib/layerctl/x", "vim")
        );
    }
}
