//! The programs that building and testing need, and what to do when some are missing.
//!
//! ```text
//! PATH, files, os-release, user id → missing tools, Host → decide (pure) → Step → carry it out
//! ```

mod install;
mod table;

pub use install::{ToolsError, find_program, os_release, provide};
pub use table::{Presence, TOOLS, Tool};

/// A family of distributions that share a package manager and package names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// apt: Debian, Ubuntu and what is built from them.
    Debian,
    /// dnf: Fedora, and the Enterprise Linux kin.
    Fedora,
    /// pacman: Arch and its kin.
    Arch,
    /// Any other.
    Other,
}

impl Family {
    /// Reads the family from the text of os-release(5): `ID`, then each word of `ID_LIKE`.
    pub fn parse(os_release: &str) -> Self {
        let value = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']))
                .unwrap_or_default()
        };
        let words = value("ID").split_whitespace().chain(value("ID_LIKE").split_whitespace());
        for word in words {
            match word {
                "debian" | "ubuntu" => return Self::Debian,
                "fedora" | "rhel" | "centos" => return Self::Fedora,
                "arch" => return Self::Arch,
                _ => {}
            }
        }
        Self::Other
    }
}

/// How packages may be installed on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// This process is root.
    Root,
    /// `sudo -n` works: no password is asked.
    Sudo,
    /// Somebody has to type the command.
    Nobody,
}

/// What to do about the missing tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// All are there.
    Nothing,
    /// Run these commands, one after the other.
    Install(Vec<Vec<String>>),
    /// Show this to the user and stop: one line to type.
    Ask(String),
}

/// Decides what to do about `missing`.
///
/// Only a Debian family machine is changed without asking, and only where no password is needed.
pub fn decide(missing: &[&Tool], family: Family, rights: Rights) -> Step {
    if missing.is_empty() {
        return Step::Nothing;
    }
    let packages = packages(missing, family);
    match (family, rights) {
        (Family::Debian, Rights::Root) => Step::Install(apt_commands(&[], &packages)),
        (Family::Debian, Rights::Sudo) => Step::Install(apt_commands(&["sudo", "-n"], &packages)),
        (Family::Debian, Rights::Nobody) => {
            ask("sudo apt-get install --no-install-recommends", &packages)
        }
        (Family::Fedora, _) => ask(&format!("{}dnf install", sudo(rights)), &packages),
        (Family::Arch, _) => ask(&format!("{}pacman -S --needed", sudo(rights)), &packages),
        (Family::Other, _) => {
            let names: Vec<_> = missing.iter().map(|tool| tool.name).collect();
            Step::Ask(format!("install these with your package manager: {}", names.join(" ")))
        }
    }
}

fn packages(missing: &[&Tool], family: Family) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package(family)).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn sudo(rights: Rights) -> &'static str {
    if rights == Rights::Root { "" } else { "sudo " }
}

fn ask(command: &str, packages: &[&str]) -> Step {
    Step::Ask(format!("{command} {}", packages.join(" ")))
}

fn apt_commands(prefix: &[&str], packages: &[&str]) -> Vec<Vec<String>> {
    let install = ["install", "--yes", "--no-install-recommends"];
    let command = |words: &[&str]| {
        let start = prefix.iter().chain(&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        start.chain(words).map(ToString::to_string).collect()
    };
    vec![command(&["update"]), command(&[&install, packages].concat())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(names: &[&str]) -> Vec<&'static Tool> {
        TOOLS.iter().filter(|tool| names.contains(&tool.name)).collect()
    }

    #[test]
    fn the_family_comes_from_id_then_id_like() {
        assert_eq!(Family::parse("NAME=x\nID=debian\n"), Family::Debian);
        assert_eq!(Family::parse("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Family::Debian);
        assert_eq!(Family::parse("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\""), Family::Fedora);
        assert_eq!(Family::parse("ID=cachyos\nID_LIKE=arch\n"), Family::Arch);
        assert_eq!(Family::parse("ID=gentoo\n"), Family::Other);
        assert_eq!(Family::parse(""), Family::Other);
    }

    #[test]
    fn nothing_missing_means_nothing_to_do() {
        assert_eq!(decide(&[], Family::Other, Rights::Nobody), Step::Nothing);
    }

    #[test]
    fn root_on_debian_installs_each_package_once() {
        let missing = tools(&["mksquashfs", "unsquashfs", "mkfs.btrfs"]);
        let Step::Install(commands) = decide(&missing, Family::Debian, Rights::Root) else {
            panic!("expected an installation");
        };
        let lines: Vec<_> = commands.iter().map(|words| words.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "env DEBIAN_FRONTEND=noninteractive apt-get update",
                "env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
                 btrfs-progs squashfs-tools",
            ]
        );
    }

    #[test]
    fn sudo_without_a_password_is_used_on_debian() {
        let step = decide(&tools(&["mkfs.xfs"]), Family::Debian, Rights::Sudo);
        let Step::Install(commands) = step else { panic!("expected an installation") };
        assert!(commands.iter().all(|words| words.starts_with(&["sudo".into(), "-n".into()])));
    }

    #[test]
    fn others_get_the_one_line_to_type() {
        let missing = tools(&["qemu-system-x86_64", "depmod", "sgdisk"]);
        let cases = [
            (
                Family::Debian,
                Rights::Nobody,
                "sudo apt-get install --no-install-recommends gdisk kmod qemu-system-x86",
            ),
            (Family::Fedora, Rights::Root, "dnf install gdisk kmod qemu-system-x86-core"),
            (Family::Fedora, Rights::Sudo, "sudo dnf install gdisk kmod qemu-system-x86-core"),
            (Family::Arch, Rights::Nobody, "sudo pacman -S --needed gptfdisk kmod qemu-system-x86"),
            (
                Family::Other,
                Rights::Root,
                "install these with your package manager: qemu-system-x86_64 sgdisk depmod",
            ),
        ];
        for (family, rights, line) in cases {
            assert_eq!(decide(&missing, family, rights), Step::Ask(line.to_owned()));
        }
    }
}
