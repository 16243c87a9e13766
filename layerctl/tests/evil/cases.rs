//! The evil layers, one a row.

use super::case::How::{Erofs, Socket, Squashfs};
use super::case::Says::{Grant, Nothing};
use super::case::{Case, case, deleting, marked};

/// VFS_CAP_REVISION_2 with cap_net_raw, effective (linux/capability.h).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// u::rw,u:1000:rw,g::r,m::rw,o::r (linux/posix_acl_xattr.h).
const ACL: &[u8] = &[
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255,
    255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];

/// Programs that run as somebody else, and what is no file.
pub(super) const NODES: [Case; 19] = [
    case(
        "setuid program",
        Squashfs,
        "echo x >usr/bin/x; chmod 4755 usr/bin/x",
        Grant("setuid /usr/bin/x"),
    ),
    case(
        "setuid program of somebody",
        Erofs,
        "echo x >usr/bin/x; chown 1000 usr/bin/x; chmod 4755 usr/bin/x",
        Grant("setuid /usr/bin/x"),
    ),
    case(
        "setgid program",
        Erofs,
        "echo x >usr/bin/x; chmod 2755 usr/bin/x",
        Grant("setgid /usr/bin/x"),
    ),
    case(
        "setuid program far from PATH",
        Erofs,
        "mkdir -p opt/a/b; echo x >opt/a/b/x; chmod 4711 opt/a/b/x",
        Grant("setuid /opt/a/b/x"),
    ),
    case(
        "setuid script that nobody may read",
        Squashfs,
        "echo '#!/bin/sh' >usr/bin/x; chmod 6111 usr/bin/x",
        Grant("setgid /usr/bin/x"),
    ),
    case("setuid directory", Erofs, "mkdir opt; chmod 4755 opt", Grant("setuid /opt")),
    case("setgid directory", Squashfs, "mkdir -p opt/d; chmod 2755 opt/d", Grant("setgid /opt/d")),
    marked(
        "file capabilities",
        Squashfs,
        &[("usr/bin/x", "security.capability", CAPABILITY)],
        Grant("capabilities /usr/bin/x"),
    ),
    marked(
        "file capabilities in EROFS",
        Erofs,
        &[("usr/bin/x", "security.capability", CAPABILITY)],
        Grant("capabilities /usr/bin/x"),
    ),
    case(
        "memory as a device",
        Squashfs,
        "mkdir -p opt/d; mknod opt/d/mem c 1 1",
        Grant("device /opt/d/mem"),
    ),
    case(
        "disk as a device that all may write",
        Erofs,
        "mknod usr/bin/disk b 8 0; chmod 666 usr/bin/disk",
        Grant("device /usr/bin/disk"),
    ),
    case("pipe", Squashfs, "mkfifo usr/bin/x", Grant("fifo /usr/bin/x")),
    case(
        "pipe for os-release, on which readers wait",
        Erofs,
        "mkdir usr/lib; mkfifo usr/lib/os-release",
        Grant("fifo /usr/lib/os-release"),
    ),
    case("socket", Socket("usr/bin/x"), "", Grant("socket /usr/bin/x")),
    deleting(
        "undeclared whiteout",
        "mknod usr/bin/vi c 0 0",
        &[],
        &[],
        Nothing("whiteouts or opaque directories"),
    ),
    deleting(
        "whiteout",
        "mknod usr/bin/vi c 0 0",
        &[],
        &["/usr/bin/vi"],
        Grant("whiteout /usr/bin/vi"),
    ),
    deleting(
        "undeclared opaque directory",
        "true",
        &[("usr/share", "trusted.overlay.opaque", b"y")],
        &[],
        Nothing("whiteouts or opaque directories"),
    ),
    deleting(
        "opaque directory",
        "true",
        &[("usr/share", "trusted.overlay.opaque", b"y")],
        &["/usr/share"],
        Grant("opaque /usr/share"),
    ),
    deleting(
        "opaque directory for users' mounts",
        "true",
        &[("usr/share", "user.overlay.opaque", b"y")],
        &["/usr/share"],
        Grant("opaque /usr/share"),
    ),
];

/// Attributes, modes and owners.
pub(super) const RIGHTS: [Case; 26] = [
    marked(
        "trusted.overlay.redirect",
        Squashfs,
        &[("opt/d", "trusted.overlay.redirect", b"/root")],
        Nothing("/opt/d: the attribute trusted.overlay.redirect"),
    ),
    marked(
        "trusted.overlay.redirect of a file",
        Erofs,
        &[("usr/bin/x", "trusted.overlay.redirect", b"/etc/shadow")],
        Nothing("trusted.overlay.redirect"),
    ),
    marked(
        "trusted.overlay.metacopy",
        Erofs,
        &[("usr/bin/x", "trusted.overlay.metacopy", b"")],
        Nothing("trusted.overlay.metacopy"),
    ),
    marked(
        "trusted.overlay.origin",
        Squashfs,
        &[("opt/d", "trusted.overlay.origin", b"x")],
        Nothing("trusted.overlay.origin"),
    ),
    marked(
        "trusted.overlay.opaque of a file",
        Squashfs,
        &[("usr/bin/x", "trusted.overlay.opaque", b"y")],
        Nothing("trusted.overlay.opaque"),
    ),
    marked(
        "trusted.overlay.whiteout",
        Erofs,
        &[("usr/bin/x", "trusted.overlay.whiteout", b"")],
        Nothing("trusted.overlay.whiteout"),
    ),
    marked(
        "trusted.overlay.overlay.opaque, escaped",
        Squashfs,
        &[("opt/d", "trusted.overlay.overlay.opaque", b"y")],
        Nothing("trusted.overlay.overlay.opaque"),
    ),
    marked(
        "user.overlay.redirect",
        Squashfs,
        &[("opt/d", "user.overlay.redirect", b"/root")],
        Nothing("user.overlay.redirect"),
    ),
    marked(
        "user.overlay.metacopy",
        Erofs,
        &[("usr/bin/x", "user.overlay.metacopy", b"")],
        Nothing("user.overlay.metacopy"),
    ),
    marked(
        "user.overlay.whiteout",
        Erofs,
        &[("usr/bin/x", "user.overlay.whiteout", b"")],
        Nothing("user.overlay.whiteout"),
    ),
    marked(
        "label of SELinux",
        Squashfs,
        &[("usr/bin/x", "security.selinux", b"u:r:t\0")],
        Grant("attribute /usr/bin/x"),
    ),
    marked(
        "signature of IMA",
        Erofs,
        &[("usr/bin/x", "security.ima", b"\x01x")],
        Grant("attribute /usr/bin/x"),
    ),
    marked(
        "attribute of root's own",
        Squashfs,
        &[("usr/bin/x", "trusted.x", b"x")],
        Grant("attribute /usr/bin/x"),
    ),
    marked(
        "access list",
        Erofs,
        &[("usr/bin/x", "system.posix_acl_access", ACL)],
        Grant("attribute /usr/bin/x"),
    ),
    case(
        "root directory that nobody may enter",
        Squashfs,
        "chmod 700 .",
        Nothing("lock every user out"),
    ),
    case(
        "root directory that nobody may list",
        Erofs,
        "chmod 711 .",
        Nothing("lock every user out"),
    ),
    case(
        "root directory that all may write",
        Squashfs,
        "chmod 777 .",
        Nothing("the root directory has mode 0777"),
    ),
    case(
        "root directory with a setuid bit",
        Erofs,
        "chmod 4755 .",
        Nothing("the root directory has mode 4755"),
    ),
    case("root directory of somebody", Squashfs, "chown 1000 .", Grant("owner /")),
    case(
        "file that all may write",
        Erofs,
        "echo x >usr/bin/x; chmod 777 usr/bin/x",
        Grant("writable /usr/bin/x"),
    ),
    case(
        "directory that all may write",
        Squashfs,
        "mkdir opt; chmod 777 opt",
        Grant("writable /opt"),
    ),
    case(
        "file that a group may write",
        Erofs,
        "mkdir opt; echo x >opt/x; chgrp 100 opt/x; chmod 664 opt/x",
        Grant("writable /opt/x"),
    ),
    case(
        "program of somebody",
        Squashfs,
        "mkdir opt; echo x >opt/x; chown 1000 opt/x; chmod 755 opt/x",
        Grant("owner /opt/x"),
    ),
    case(
        "library of somebody",
        Erofs,
        "mkdir usr/lib; echo x >usr/lib/libx.so; chown 1000 usr/lib/libx.so",
        Grant("owner /usr/lib/libx.so"),
    ),
    case("directory of the base locked", Squashfs, "chmod 700 usr/share", Grant("mode /usr/share")),
    case(
        "directory of the base given away",
        Erofs,
        "chown 1000 usr/share",
        Grant("owner /usr/share"),
    ),
];

/// Files that decide who may do what.
pub(super) const MASKS: [Case; 33] = [
    case(
        "ld.so.preload",
        Squashfs,
        "mkdir etc; echo /x.so >etc/ld.so.preload",
        Grant("masks /etc/ld.so.preload"),
    ),
    case(
        "ld.so.conf.d",
        Erofs,
        "mkdir -p etc/ld.so.conf.d; echo /x >etc/ld.so.conf.d/0.conf",
        Grant("masks /etc/ld.so.conf.d/0.conf"),
    ),
    case(
        "pam.d",
        Squashfs,
        "mkdir -p etc/pam.d; echo x >etc/pam.d/sudo",
        Grant("masks /etc/pam.d/sudo"),
    ),
    case("sudoers", Erofs, "mkdir -p etc; echo x >etc/sudoers", Grant("masks /etc/sudoers")),
    case(
        "sudoers.d",
        Squashfs,
        "mkdir -p etc/sudoers.d; echo x >etc/sudoers.d/x",
        Grant("masks /etc/sudoers.d/x"),
    ),
    case(
        "sudoers.d as a link",
        Erofs,
        "mkdir -p etc; ln -s /tmp etc/sudoers.d",
        Grant("masks /etc/sudoers.d"),
    ),
    case(
        "sshd_config",
        Squashfs,
        "mkdir -p etc/ssh; echo x >etc/ssh/sshd_config",
        Grant("masks /etc/ssh/sshd_config"),
    ),
    case(
        "sshd_config.d",
        Erofs,
        "mkdir -p etc/ssh/sshd_config.d; echo x >etc/ssh/sshd_config.d/x.conf",
        Grant("masks /etc/ssh/sshd_config.d/x.conf"),
    ),
    case("shadow", Squashfs, "mkdir etc; echo root::: >etc/shadow", Grant("masks /etc/shadow")),
    case(
        "passwd",
        Erofs,
        "mkdir etc; echo root::0:0::/:/bin/sh >etc/passwd",
        Grant("masks /etc/passwd"),
    ),
    case("sudo", Squashfs, "echo x >usr/bin/sudo", Grant("masks /usr/bin/sudo")),
    case("su as a link", Erofs, "ln -s x usr/bin/su", Grant("masks /usr/bin/su")),
    case(
        "sudo before sudo",
        Squashfs,
        "mkdir -p usr/local/bin; echo x >usr/local/bin/sudo",
        Grant("masks /usr/local/bin/sudo"),
    ),
    case(
        "login in sbin",
        Erofs,
        "mkdir usr/sbin; echo x >usr/sbin/login",
        Grant("masks /usr/sbin/login"),
    ),
    case(
        "loader",
        Squashfs,
        "mkdir usr/lib64; echo x >usr/lib64/ld-linux-x86-64.so.2",
        Grant("masks /usr/lib64/ld-linux-x86-64.so.2"),
    ),
    case(
        "C library",
        Erofs,
        "mkdir -p usr/lib/x86_64-linux-gnu; echo x >usr/lib/x86_64-linux-gnu/libc.so.6",
        Grant("masks /usr/lib/x86_64-linux-gnu/libc.so.6"),
    ),
    case(
        "C library for newer processors",
        Squashfs,
        "mkdir -p usr/lib/x/glibc-hwcaps/x86-64-v3; echo x >usr/lib/x/glibc-hwcaps/x86-64-v3/libc.so.6",
        Grant("masks /usr/lib/x/glibc-hwcaps/x86-64-v3/libc.so.6"),
    ),
    case(
        "module of PAM",
        Erofs,
        "mkdir -p usr/lib/x/security; echo x >usr/lib/x/security/pam_unix.so",
        Grant("masks /usr/lib/x/security/pam_unix.so"),
    ),
    case(
        "os-release",
        Squashfs,
        "mkdir usr/lib; echo ID=debian >usr/lib/os-release",
        Grant("masks /usr/lib/os-release"),
    ),
    case(
        "program of layerctl",
        Erofs,
        "mkdir -p usr/lib/layerctl; echo x >usr/lib/layerctl/layers-init",
        Grant("masks /usr/lib/layerctl/layers-init"),
    ),
    case(
        "trust file",
        Squashfs,
        "mkdir -p etc/layerctl; echo 'verify off' >etc/layerctl/trust",
        Grant("masks /etc/layerctl/trust"),
    ),
    case(
        "fragment of another layer",
        Erofs,
        "mkdir -p usr/lib/layerctl/layers/other; echo x >usr/lib/layerctl/layers/other/x",
        Grant("masks /usr/lib/layerctl/layers/other/x"),
    ),
    case(
        "unit of the base",
        Squashfs,
        "mkdir -p usr/lib/systemd/system; echo x >usr/lib/systemd/system/ssh.service",
        Grant("masks /usr/lib/systemd/system/ssh.service"),
    ),
    case(
        "masked unit of the base",
        Erofs,
        "mkdir -p etc/systemd/system; ln -s /dev/null etc/systemd/system/ssh.service",
        Grant("masks /etc/systemd/system/ssh.service"),
    ),
    case(
        "drop-in for a unit of the base",
        Squashfs,
        "mkdir -p etc/systemd/system/ssh.service.d; echo x >etc/systemd/system/ssh.service.d/x.conf",
        Grant("masks /etc/systemd/system/ssh.service.d/x.conf"),
    ),
    case(
        "drop-in for all services",
        Erofs,
        "mkdir -p usr/lib/systemd/system/service.d; echo x >usr/lib/systemd/system/service.d/x.conf",
        Grant("masks /usr/lib/systemd/system/service.d/x.conf"),
    ),
    case(
        "generator",
        Squashfs,
        "mkdir -p usr/lib/systemd/system-generators; echo x >usr/lib/systemd/system-generators/x",
        Grant("masks /usr/lib/systemd/system-generators/x"),
    ),
    case(
        "PID 1",
        Erofs,
        "mkdir -p usr/lib/systemd; echo x >usr/lib/systemd/systemd",
        Grant("masks /usr/lib/systemd/systemd"),
    ),
    case(
        "rule of udev of the base",
        Squashfs,
        "mkdir -p usr/lib/udev/rules.d; echo x >usr/lib/udev/rules.d/50-base.rules",
        Grant("masks /usr/lib/udev/rules.d/50-base.rules"),
    ),
    case(
        "key of root",
        Erofs,
        "mkdir -p root/.ssh; echo x >root/.ssh/authorized_keys",
        Grant("masks /root/.ssh/authorized_keys"),
    ),
    deleting(
        "deletion of PAM's rules",
        "mkdir etc; mknod etc/pam.d c 0 0",
        &[],
        &["/etc/pam.d"],
        Grant("masks /etc/pam.d"),
    ),
    deleting(
        "etc that hides the base's",
        "mkdir -p etc/x; echo x >etc/x/x",
        &[("etc", "trusted.overlay.opaque", b"y")],
        &["/etc"],
        Grant("masks /etc"),
    ),
    case(
        "file where the store is",
        Squashfs,
        "mkdir -p layerctl/store; echo x >layerctl/store/x",
        Nothing("does not grant: masks /layerctl/store/x"),
    ),
];
