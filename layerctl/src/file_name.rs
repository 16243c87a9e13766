//! What the name of an image file says: `NAME_VERSION_ARCHITECTURE.raw`, as systemd-sysupdate has them (UAPI.10 and
//! sysupdate.d(5)), and `NAME-VERSION-ARCHITECTURE.raw`, as Flatcar's extensions are called.

/// The version of an extension that has none.
pub(crate) const NO_VERSION: &str = "0";

/// Architectures as systemd names them (systemd.unit(5), ConditionArchitecture=).
const ARCHITECTURES: [&str; 11] = [
    "x86-64",
    "x86",
    "arm64",
    "arm",
    "riscv64",
    "ppc64-le",
    "ppc64",
    "s390x",
    "loongarch64",
    "mips64-le",
    "ia64",
];

/// The parts of an image file's name without its ending; none of those that it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileName<'a> {
    /// The image's name.
    pub(crate) name: Option<&'a str>,
    /// Its version.
    pub(crate) version: Option<&'a str>,
    /// Its architecture.
    pub(crate) architecture: Option<&'a str>,
}

impl<'a> FileName<'a> {
    /// Reads a file's name; `known` is the image's name as its extension-release has it.
    pub(crate) fn parse(stem: &'a str, known: Option<&'a str>) -> Self {
        let parts: Vec<&str> = stem.split('_').collect();
        let (name, version, architecture) = match parts.as_slice() {
            [name, version] => (Some(*name), Some(*version), None),
            [name, version, architecture] => (Some(*name), Some(*version), Some(*architecture)),
            _ => return known.map_or_else(Self::default, |known| Self::after(stem, known)),
        };
        Self { name, version, architecture }
    }

    /// `KNOWN-VERSION[-ARCHITECTURE]`.
    fn after(stem: &'a str, known: &'a str) -> Self {
        let name = Some(known);
        let Some(rest) = stem.strip_prefix(known).and_then(|rest| rest.strip_prefix('-')) else {
            return Self { name, ..Self::default() };
        };
        let architecture = ARCHITECTURES.into_iter().find(|it| rest.ends_with(it));
        let version = match architecture {
            Some(architecture) => {
                rest.strip_suffix(architecture).map(|it| it.trim_end_matches('-'))
            }
            None => Some(rest),
        };
        Self { name, version: version.filter(|version| !version.is_empty()), architecture }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let cases = [
            ("htop_3.4", None, (Some("htop"), Some("3.4"), None)),
            ("htop_3.4_x86-64", None, (Some("htop"), Some("3.4"), Some("x86-64"))),
            ("htop", None, (None, None, None)),
            ("htop", Some("htop"), (Some("htop"), None, None)),
            (
                "docker-24.0.9-x86-64",
                Some("docker"),
                (Some("docker"), Some("24.0.9"), Some("x86-64")),
            ),
            (
                "kubernetes-v1.29.2-arm64",
                Some("kubernetes"),
                (Some("kubernetes"), Some("v1.29.2"), Some("arm64")),
            ),
            ("docker-x86-64", Some("docker"), (Some("docker"), None, Some("x86-64"))),
            ("other", Some("docker"), (Some("docker"), None, None)),
            ("a_b_c_d", Some("docker"), (Some("docker"), None, None)),
        ];
        for (stem, known, expected) in cases {
            let name = FileName::parse(stem, known);
            assert_eq!((name.name, name.version, name.architecture), expected, "{stem}");
        }
    }
}
