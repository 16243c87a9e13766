//! Looks for the tools, and carries out the step that was decided.
#![expect(clippy::disallowed_methods, reason = "reads the machine and runs its package manager")]

use super::{Family, Presence, Rights, Step, TOOLS, Tool, decide};
use crate::files::{self, FileError};
use crate::process::{self, ProcessError};
use crate::vm::OVMF;
use std::env;
use std::path::{Path, PathBuf};

/// Why the tools could not be provided.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// Somebody has to install them.
    #[error("missing: {missing}\ntype:    {line}")]
    Ask {
        /// The names of what is missing.
        missing: String,
        /// The line to type.
        line: String,
    },
    /// Images are mounted to be looked into, and files keep their owners: both are root's to do.
    #[error("this needs root: it mounts images and keeps the owners of files\ntype:    {0}")]
    NotRoot(String),
    /// The packages were installed, and something is still not there.
    #[error("still missing after the installation: {0}")]
    StillMissing(String),
    /// The package manager failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file of the machine could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes sure that every tool is there and that this is root: installs what is missing, or says what to type.
pub fn provide() -> Result<(), ToolsError> {
    let missing = missing();
    let family = Family::parse(&os_release()?);
    let rights = rights();
    match decide(&missing, family, rights) {
        Step::Nothing => {}
        Step::Ask(line) => return Err(ToolsError::Ask { missing: names(&missing), line }),
        Step::Install(commands) => {
            eprintln!("xtask: installing what is missing: {}", names(&missing));
            for words in commands {
                let Some((program, arguments)) = words.split_first() else {
                    continue;
                };
                process::show(process::command(program).args(arguments))?;
            }
            let left = self::missing();
            if !left.is_empty() {
                return Err(ToolsError::StillMissing(names(&left)));
            }
        }
    }
    if rights == Rights::Root {
        return Ok(());
    }
    let arguments: Vec<_> = env::args().skip(1).collect();
    Err(ToolsError::NotRoot(as_root(&arguments)))
}

/// The same task as root, with the user's own Rust, which lies below HOME.
fn as_root(arguments: &[String]) -> String {
    format!("sudo env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask {}", arguments.join(" "))
}

fn missing() -> Vec<&'static Tool> {
    TOOLS.iter().filter(|tool| !is_there(tool)).collect()
}

fn names(tools: &[&Tool]) -> String {
    tools.iter().map(|tool| tool.name).collect::<Vec<_>>().join(" ")
}

fn is_there(tool: &Tool) -> bool {
    match tool.presence {
        Presence::Program => find_program(tool.name).is_some(),
        Presence::File(path) => files::exists(Path::new(path)),
        Presence::Firmware => OVMF.iter().any(|(code, _)| files::exists(Path::new(code))),
        // Where the compiler does not find it, it answers with the bare name.
        Presence::StaticLibc => {
            process::read(process::command("cc").arg("-print-file-name=libc.a"))
                .is_ok_and(|answer| answer.starts_with(b"/"))
        }
    }
}

/// The program's path, from PATH and then /usr/sbin and /sbin, which a user's PATH may lack.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// The text of os-release(5); empty where the machine has none.
pub fn os_release() -> Result<String, FileError> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        let path = Path::new(path);
        if files::exists(path) {
            return files::read_text(path);
        }
    }
    Ok(String::new())
}

fn rights() -> Rights {
    let is_root = process::read(process::command("id").arg("-u")).is_ok_and(|id| id == b"0\n");
    if is_root {
        Rights::Root
    } else if process::run(process::command("sudo").args(["-n", "true"])).is_ok() {
        Rights::Sudo
    } else {
        Rights::Nobody
    }
}
