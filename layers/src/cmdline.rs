//! The kernel command line: what a boot was asked to do.
//!
//! Parsing never fails. What cannot be understood is put into [`BootRequest::problems`] and the rest is honoured:
//! a typing mistake at the boot loader's prompt must not cost the boot.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::id::{GenerationId, Name, SetName};
use crate::policy::{Dir, Mode, Policy};
use crate::size::Size;
use crate::trust::Verify;

/// Seconds to wait for the state device when `layers.timeout=` does not say.
pub const DEFAULT_TIMEOUT: u64 = 30;

/// How the state file system is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceSpec {
    /// `UUID=`: the file system's UUID (or vfat serial), compared without regard to case.
    Uuid(String),
    /// `LABEL=`: the file system's label.
    Label(String),
    /// `PARTUUID=`: the GPT partition's GUID, compared without regard to case.
    PartUuid(String),
    /// `PARTLABEL=`: the GPT partition's name.
    PartLabel(String),
    /// `/dev/…`: a device node.
    Path(PathBuf),
}

impl FromStr for DeviceSpec {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let unusable = || {
            format!(
                "{text:?} names no device: UUID=, LABEL=, PARTUUID=, PARTLABEL= or /dev/… is expected"
            )
        };
        if text.starts_with("/dev/") {
            return Ok(Self::Path(text.into()));
        }
        let (tag, value) = text.split_once('=').ok_or_else(unusable)?;
        let value = value.trim_matches('"').to_owned();
        match tag {
            _ if value.is_empty() => Err(unusable()),
            "UUID" => Ok(Self::Uuid(value)),
            "LABEL" => Ok(Self::Label(value)),
            "PARTUUID" => Ok(Self::PartUuid(value)),
            "PARTLABEL" => Ok(Self::PartLabel(value)),
            _ => Err(unusable()),
        }
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(value) => write!(f, "UUID={value}"),
            Self::Label(value) => write!(f, "LABEL={value}"),
            Self::PartUuid(value) => write!(f, "PARTUUID={value}"),
            Self::PartLabel(value) => write!(f, "PARTLABEL={value}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Which generation was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GenerationChoice {
    /// The one that `boot/next` or `boot/default` names.
    #[default]
    Default,
    /// The one before the default.
    Previous,
    /// This one.
    Id(GenerationId),
}

/// Which sets were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SetChoice {
    /// The set `default`.
    #[default]
    Default,
    /// The base alone.
    Nothing,
    /// The union of these.
    Named(Vec<SetName>),
}

/// What to do when no candidate boots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFail {
    /// Try the next candidate; the failure screen stays when none is left.
    #[default]
    Fallback,
    /// Restart the machine.
    Reboot,
    /// Switch it off.
    Poweroff,
    /// A shell, where the initrd was built with one.
    Shell,
}

/// Which of the writable directories a key names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DirSet([bool; 3]);

impl DirSet {
    /// All of them.
    pub const ALL: Self = Self([true; 3]);

    /// Those that are in either.
    pub fn union(self, other: Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether `dir` is among them.
    pub fn contains(self, dir: Dir) -> bool {
        self.iter().any(|member| member == dir)
    }

    /// Whether it is none of them.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// The members, in the order of [`Dir::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Dir> {
        Dir::ALL.into_iter().zip(self.0).filter_map(|(dir, member)| member.then_some(dir))
    }
}

impl FromIterator<Dir> for DirSet {
    fn from_iter<I: IntoIterator<Item = Dir>>(dirs: I) -> Self {
        let mut set = Self::default();
        for dir in dirs {
            let [etc, var, home] = &mut set.0;
            match dir {
                Dir::Etc => *etc = true,
                Dir::Var => *var = true,
                Dir::Home => *home = true,
            }
        }
        set
    }
}

/// What a boot was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRequest {
    /// Where the state file system is.
    pub state: DeviceSpec,
    /// Which generation to boot.
    pub generation: GenerationChoice,
    /// Which sets of it.
    pub sets: SetChoice,
    /// Layers in addition.
    pub add: Vec<Name>,
    /// Layers left out.
    pub skip: Vec<Name>,
    /// Directories on a tmpfs over the images alone.
    pub ephemeral: DirSet,
    /// The size of that tmpfs, and of that of frozen directories; the policy's without.
    pub ephemeral_size: Option<Size>,
    /// Directories on a tmpfs over their upper.
    pub frozen: DirSet,
    /// Directories whose upper is emptied.
    pub wipe: DirSet,
    /// What to do when a candidate fails.
    pub onfail: OnFail,
    /// Seconds to wait for the state device.
    pub timeout: u64,
    /// Whether the bytes of each image are compared with its digest before it is mounted.
    pub hashed: bool,
    /// What is asked of signatures; the initrd may ask for more.
    pub verify: Verify,
    /// Seconds after which the hardware watchdog resets the machine unless the system's init pings it; without, it is left
    /// alone, since a system that knows nothing of it would be reset in the middle of its work.
    pub watchdog: Option<u32>,
    /// Whether the plan goes to the console.
    pub show_plan: bool,
    /// The program to start instead of /sbin/init.
    pub init: Option<PathBuf>,
    /// What could not be understood, one line each.
    pub problems: Vec<String>,
}

impl Default for BootRequest {
    fn default() -> Self {
        Self {
            state: DeviceSpec::Label("layers".to_owned()),
            generation: GenerationChoice::default(),
            sets: SetChoice::default(),
            add: Vec::new(),
            skip: Vec::new(),
            ephemeral: DirSet::default(),
            ephemeral_size: None,
            frozen: DirSet::default(),
            wipe: DirSet::default(),
            onfail: OnFail::default(),
            timeout: DEFAULT_TIMEOUT,
            hashed: false,
            verify: Verify::Off,
            watchdog: None,
            show_plan: false,
            init: None,
            problems: Vec::new(),
        }
    }
}

impl BootRequest {
    /// Reads a command line as the kernel does: words parted by white space, double quotes keep it, `--` ends the
    /// kernel's part, the last of several equal keys wins; `layers.add=` and `layers.skip=` add up.
    pub fn parse(cmdline: &str) -> Self {
        let mut request = Self::default();
        let mut state = None;
        let mut root = None;
        for word in words(cmdline) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word.as_str(), None),
            };
            // The kernel takes - and _ in a key for the same (Documentation/admin-guide/kernel-parameters.rst).
            match (key.replace('-', "_").as_str(), value) {
                ("root", Some(value)) => root = value.parse().ok(),
                ("init", Some(value)) => request.init = Some(value.into()),
                ("layers.state", Some(value)) => match value.parse() {
                    Ok(spec) => state = Some(spec),
                    Err(problem) => request.problems.push(format!("layers.state: {problem}")),
                },
                (key, value) => {
                    if let Some(key) = key.strip_prefix("layers.")
                        && let Err(problem) = request.take(key, value)
                    {
                        request.problems.push(format!("layers.{key}: {problem}"));
                    }
                }
            }
        }
        if let Some(spec) = state.or(root) {
            request.state = spec;
        }
        request
    }

    /// Where writes to `dir` go: what the command line says, else the generation's policy.
    pub fn mode(&self, dir: Dir, policy: &Policy) -> Mode {
        if self.ephemeral.contains(dir) {
            Mode::Ephemeral
        } else if self.frozen.contains(dir) {
            Mode::Frozen
        } else {
            policy.mode(dir)
        }
    }

    /// Whether the command line alone already says that nothing is written to the state file system.
    pub fn writes_nothing(&self) -> bool {
        Dir::ALL.iter().all(|&dir| self.ephemeral.contains(dir) || self.frozen.contains(dir))
    }

    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        match (key, value) {
            ("generation", Some(value)) => self.generation = generation(value)?,
            ("set", Some(value)) => self.sets = self.set_choice(value),
            ("add", Some(value)) => {
                let names = self.names(key, value);
                self.add.extend(names);
            }
            ("skip", Some(value)) => {
                let names = self.names(key, value);
                self.skip.extend(names);
            }
            ("ephemeral", value) => self.ephemeral = self.dirs(key, value)?,
            ("ephemeral.size", Some(value)) => {
                self.ephemeral_size = Some(value.parse().map_err(|error| format!("{error}"))?);
            }
            ("frozen", value) => self.frozen = self.dirs(key, value)?,
            ("wipe", value) => self.wipe = self.dirs(key, value)?,
            ("onfail", Some(value)) => self.onfail = onfail(value)?,
            ("timeout", Some(value)) => self.timeout = seconds(value)?,
            ("verify", None) => self.hashed = true,
            ("verify", Some(value)) => self.verify = self.verify.max(verify(value)?),
            ("watchdog", Some(value)) => {
                self.watchdog = Some(seconds(value)?).filter(|seconds| *seconds > 0);
            }
            ("plan", None) => self.show_plan = true,
            ("plan", Some(_)) => return Err("takes no value".to_owned()),
            (
                "generation" | "set" | "add" | "skip" | "onfail" | "timeout" | "state"
                | "ephemeral.size" | "watchdog",
                None,
            ) => return Err("wants a value".to_owned()),
            _ => return Err("is no key that this initrd knows".to_owned()),
        }
        Ok(())
    }

    /// The names in a list; those that are none become problems, the others are kept.
    fn names<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, list: &str) -> Vec<T> {
        let mut names = Vec::new();
        for item in list.split(',').filter(|item| !item.is_empty()) {
            match item.parse() {
                Ok(name) => names.push(name),
                Err(error) => self.problems.push(format!("layers.{key}: {error}")),
            }
        }
        names
    }

    /// The directories in a list, all of them without one; those that are none become problems, the others are kept.
    fn dirs(&mut self, key: &str, value: Option<&str>) -> Result<DirSet, String> {
        let Some(list) = value else {
            return Ok(DirSet::ALL);
        };
        let unusable = |item: &str| format!("{item:?} is none of etc, var, home");
        if list.is_empty() {
            return Err(unusable(list));
        }
        let mut dirs = Vec::new();
        for item in list.split(',').filter(|item| !item.is_empty()) {
            match Dir::ALL.into_iter().find(|dir| dir.name() == item.trim_start_matches('/')) {
                Some(dir) => dirs.push(dir),
                None => self.problems.push(format!("layers.{key}: {}", unusable(item))),
            }
        }
        Ok(dirs.into_iter().collect())
    }

    fn set_choice(&mut self, list: &str) -> SetChoice {
        let mut sets: Vec<SetName> = self.names("set", list);
        let nothing = sets.iter().any(SetName::is_none);
        if nothing && sets.len() > 1 {
            let problem =
                "layers.set: none means the base alone; the other sets beside it are taken instead";
            self.problems.push(problem.to_owned());
            sets.retain(|set| !set.is_none());
        } else if nothing {
            return SetChoice::Nothing;
        }
        if sets.is_empty() { SetChoice::Default } else { SetChoice::Named(sets) }
    }
}

fn generation(value: &str) -> Result<GenerationChoice, String> {
    match value {
        "default" => Ok(GenerationChoice::Default),
        "previous" => Ok(GenerationChoice::Previous),
        number => number.parse().map(GenerationChoice::Id).map_err(|_| {
            format!("{number:?} is no generation: a number, default or previous is expected")
        }),
    }
}

fn seconds<T: FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value:?} is no number of seconds"))
}

fn verify(value: &str) -> Result<Verify, String> {
    match Verify::ALL.into_iter().find(|verify| verify.name() == value) {
        Some(Verify::Off) => Err("nothing lowers what the initrd asks".to_owned()),
        known => known.ok_or_else(|| format!("{value:?} is none of if-signed, require")),
    }
}

fn onfail(value: &str) -> Result<OnFail, String> {
    match value {
        "fallback" => Ok(OnFail::Fallback),
        "reboot" => Ok(OnFail::Reboot),
        "poweroff" => Ok(OnFail::Poweroff),
        "shell" => Ok(OnFail::Shell),
        _ => Err(format!("{value:?} is none of fallback, reboot, poweroff, shell")),
    }
}

/// Parts a command line into words as `lib/cmdline.c` (`next_arg`) does: quotes are dropped, blanks inside them kept.
fn words(cmdline: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut open = false;
    for character in cmdline.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                open = true;
            }
            blank if blank.is_ascii_whitespace() && !quoted => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            other => {
                word.push(other);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    if let Some(end) = words.iter().position(|word| word == "--") {
        words.truncate(end);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_command_line_boots_the_default_from_the_label_layers() {
        let request = BootRequest::parse("");
        assert_eq!(request, BootRequest::default());
        assert_eq!(request.state, DeviceSpec::Label("layers".into()));
    }

    #[test]
    fn the_state_device_is_layers_state_then_root() {
        let cases = [
            ("root=/dev/vda2", "/dev/vda2"),
            ("root=UUID=12-34 layers.state=LABEL=x", "LABEL=x"),
            ("layers.state=PARTLABEL=\"my state\" quiet", "PARTLABEL=my state"),
            ("root=ZFS=rpool", "LABEL=layers"),
            ("layers.state=PARTUUID=ab layers.state=UUID=cd", "UUID=cd"),
        ];
        for (cmdline, state) in cases {
            assert_eq!(BootRequest::parse(cmdline).state.to_string(), state, "{cmdline}");
        }
    }

    #[test]
    fn what_is_not_understood_is_a_problem_and_the_rest_is_honoured() {
        let cases = [
            ("layers.generation=0", "layers.generation: \"0\" is no generation"),
            ("layers.timeout=soon", "layers.timeout: \"soon\" is no number of seconds"),
            ("layers.watchdog=-1", "layers.watchdog: \"-1\" is no number of seconds"),
            ("layers.watchdog", "layers.watchdog: wants a value"),
            ("layers.onfail=cry", "layers.onfail: \"cry\" is none of"),
            ("layers.ephemeral=opt", "layers.ephemeral: \"opt\" is none of etc, var, home"),
            ("layers.add=a/b", "layers.add: \"a/b\" is not a usable name"),
            ("layers.sets=x", "layers.sets: is no key that this initrd knows"),
            ("layers.set", "layers.set: wants a value"),
            ("layers.state=sda", "layers.state: \"sda\" names no device"),
            ("layers.plan=1", "layers.plan: takes no value"),
            ("layers.set=none,web", "layers.set: none means the base alone"),
        ];
        for (cmdline, problem) in cases {
            let request = BootRequest::parse(&format!("{cmdline} layers.skip=x"));
            assert_eq!(request.problems.len(), 1, "{cmdline}: {:?}", request.problems);
            assert!(request.problems[0].starts_with(problem), "{:?}", request.problems);
            assert_eq!(request.skip, ["x".parse().unwrap()], "{cmdline}");
        }
    }

    #[test]
    fn lists_add_up_and_scalars_are_replaced() {
        let request = BootRequest::parse("layers.add=a,b layers.add=c layers.set=x layers.set=y,z");
        let names: Vec<_> = request.add.iter().map(Name::as_str).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let SetChoice::Named(sets) = request.sets else { panic!("{:?}", request.sets) };
        assert_eq!(sets.iter().map(ToString::to_string).collect::<Vec<_>>(), ["y", "z"]);
    }

    #[test]
    fn the_watchdog_is_left_alone_unless_a_time_is_given() {
        for (cmdline, expected) in [
            ("", None),
            ("layers.watchdog=60", Some(60)),
            ("layers.watchdog=60 layers.watchdog=0", None),
        ] {
            assert_eq!(BootRequest::parse(cmdline).watchdog, expected, "{cmdline}");
        }
    }

    #[test]
    fn what_comes_after_two_dashes_belongs_to_init() {
        let request = BootRequest::parse("layers.ephemeral -- layers.wipe init=/x");
        assert_eq!(request.ephemeral, DirSet::ALL);
        assert!(request.wipe.is_empty());
        assert_eq!(request.init, None);
    }

    #[test]
    fn modes_come_from_the_command_line_then_from_the_policy() {
        let mut policy = Policy::default();
        policy.var.mode = Mode::Frozen;
        let request = BootRequest::parse("layers.ephemeral=etc");
        let modes = Dir::ALL.map(|dir| request.mode(dir, &policy));
        assert_eq!(modes, [Mode::Ephemeral, Mode::Frozen, Mode::Persistent]);
        assert!(!request.writes_nothing());
        assert!(BootRequest::parse("layers.ephemeral=etc,var layers.frozen=home").writes_nothing());
    }
}
