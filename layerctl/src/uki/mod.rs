//! Unified kernel images: kernel, initrd and command line in one program that a UEFI firmware starts, and that one signature
//! covers.
//!
//! Source: UAPI.5 Unified Kernel Image, <https://uapi-group.org/specifications/specs/unified_kernel_image/>; systemd-stub(7).
//!
//! ```text
//! systemd-stub ┐                          ┌ ukify    ┐
//! kernel       ├→ files, one for a section┤          ├→ image → sbsign → signed image
//! initrd, text ┘                          └ objcopy  ┘
//! ```

#![expect(clippy::disallowed_methods, reason = "reads what goes in and writes work files")]

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use layers::plan::change::{PANIC, WATCHDOG};
use layers::store::inspect::MARK_GOOD;

use crate::error::Error as CommandError;
use crate::kernel;
use crate::program;

mod pe;
mod sections;

use pe::{Machine, Program};
use sections::Section;

/// Where distributions put systemd-stub.
const STUBS: &str = "usr/lib/systemd/boot/efi";

/// Where init looks for the state file system if nobody says it: by its label.
const STATE: &str = "layers.state=LABEL=layers";

/// What to build.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// The tree that kernel, stub and os-release come from.
    pub(crate) tree: &'a Path,
    /// The kernel's version.
    pub(crate) version: &'a str,
    /// The kernel, in place of the tree's.
    pub(crate) linux: Option<&'a Path>,
    /// systemd-stub, in place of the tree's or the machine's.
    pub(crate) stub: Option<&'a Path>,
    /// The command line, in place of [`default_cmdline`].
    pub(crate) cmdline: Option<&'a str>,
    /// os-release(5) for the boot loader's menu, in place of the tree's.
    pub(crate) os_release: Option<&'a Path>,
}

/// What an image is made of, read and found to fit.
pub(crate) struct Parts {
    stub: PathBuf,
    program: Program,
    linux: Vec<u8>,
    os_release: Vec<u8>,
    version: String,
    /// The command line that the kernel gets.
    pub(crate) cmdline: String,
}

/// Why no unified kernel image was built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no stub.
    #[error("systemd-stub is missing: neither {} has {name}", .places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" nor "))]
    NoStub {
        /// The file's name.
        name: String,
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// The tree has modules for a kernel, but not the kernel.
    #[error(
        "{tree} has no kernel {version}: neither usr/lib/modules/{version}/vmlinuz nor boot/vmlinuz-{version} is there"
    )]
    NoLinux {
        /// The tree.
        tree: PathBuf,
        /// The version.
        version: String,
    },
    /// A file is nothing that a firmware starts.
    #[error("{path} is no program for UEFI firmware: {why}")]
    NotEfi {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        why: &'static str,
    },
    /// Stub and kernel are for different processors.
    #[error("{stub} is for {found}, the kernel is for {wanted}")]
    OtherMachine {
        /// The stub.
        stub: PathBuf,
        /// What the stub is for.
        found: &'static str,
        /// What the kernel is for.
        wanted: &'static str,
    },
    /// The kernel would not take the initrd's modules.
    #[error("{path} is kernel {found}, and the initrd's modules are for {wanted}")]
    OtherVersion {
        /// The kernel.
        path: PathBuf,
        /// What it says it is.
        found: String,
        /// The modules' version.
        wanted: String,
    },
    /// The command line cannot be embedded.
    #[error("the command line cannot be built in: {0}")]
    Cmdline(String),
}

/// The command line that an image gets where nobody names one: what the boot loader entry of a generation has that neither
/// the machine nor the generation has a say in. The state file system is found by its label.
pub(crate) fn default_cmdline(marks_good: bool) -> String {
    let watchdog = marks_good.then_some(WATCHDOG);
    [STATE, PANIC].into_iter().chain(watchdog).collect::<Vec<_>>().join(" ")
}

/// Reads all that goes in beside the initrd, and checks that it fits together.
pub(crate) fn gather(request: &Request<'_>) -> Result<Parts, CommandError> {
    let cmdline = match request.cmdline {
        Some(cmdline) => cmdline.trim().to_owned(),
        None => default_cmdline(fs::symlink_metadata(request.tree.join(MARK_GOOD)).is_ok()),
    };
    if let Some(why) = sections::objection(&cmdline) {
        return Err(Error::Cmdline(why).into());
    }
    let (path, linux) = linux(request)?;
    let not_efi = |path: &Path| {
        let path = path.to_owned();
        move |why| Error::NotEfi { path, why }
    };
    let machine = pe::program(&linux).map_err(not_efi(&path))?.machine;
    if let Some(found) = pe::kernel_release(&linux).filter(|found| *found != request.version) {
        let (found, wanted) = (found.to_owned(), request.version.to_owned());
        return Err(Error::OtherVersion { path, found, wanted }.into());
    }
    let stub = stub(request, machine)?;
    let program = pe::program(&read(&stub)?).map_err(not_efi(&stub))?;
    if program.machine != machine {
        let (found, wanted) = (program.machine.name(), machine.name());
        return Err(Error::OtherMachine { stub, found, wanted }.into());
    }
    let os_release = os_release(request)?;
    Ok(Parts { stub, program, linux, os_release, version: request.version.to_owned(), cmdline })
}

/// Looks whether key and certificate can be read, before any work is done.
pub(crate) fn check_signer((key, certificate): (&Path, &Path)) -> Result<(), CommandError> {
    [key, certificate].into_iter().try_for_each(|path| {
        File::open(path).map(drop).map_err(|error| CommandError::io("read", path, error))
    })
}

/// Makes the image in a work directory and gives its bytes, signed where there is a signer.
pub(crate) fn build(
    parts: &Parts,
    initrd: &[u8],
    signer: Option<(&Path, &Path)>,
    work: &Path,
) -> Result<Vec<u8>, CommandError> {
    let sections = write_sections(parts, initrd, work)?;
    let image = work.join("image.efi");
    match ukify(parts, &sections, &image).run() {
        Ok(_) => {}
        Err(CommandError::NoProgram { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            objcopy(parts, &sections, &image)?;
        }
        Err(error) => return Err(error),
    }
    let Some((key, certificate)) = signer else { return read(&image) };
    let signed = work.join("signed.efi");
    let mut sbsign = program::command("sbsign");
    sbsign.command.arg("--key").arg(key).arg("--cert").arg(certificate);
    sbsign.command.arg("--output").arg(&signed).arg(&image);
    sbsign.run()?;
    read(&signed)
}

fn write_sections(parts: &Parts, initrd: &[u8], work: &Path) -> Result<Vec<Section>, CommandError> {
    let contents: [(&'static str, &[u8]); 5] = [
        (".osrel", &parts.os_release),
        (".cmdline", parts.cmdline.as_bytes()),
        (".uname", parts.version.as_bytes()),
        (".initrd", initrd),
        (".linux", &parts.linux),
    ];
    let write = |(name, bytes): (&'static str, &[u8])| {
        let file = sections::file(work, name);
        fs::write(&file, bytes).map_err(|error| CommandError::io("write", &file, error))?;
        Ok(Section { name, file, size: bytes.len() as u64 })
    };
    contents.into_iter().map(write).collect()
}

/// ukify(1) of systemd 254 or newer. It takes nothing from the machine's configuration.
fn ukify(parts: &Parts, sections: &[Section], image: &Path) -> program::Program {
    let mut ukify = program::command("ukify");
    ukify.command.args(["build", "--config=/dev/null", "--efi-arch", parts.program.machine.name()]);
    ukify.command.arg("--stub").arg(&parts.stub).arg("--output").arg(image);
    for Section { name, file, .. } in sections {
        let file = file.display();
        ukify.command.arg(match *name {
            ".osrel" => format!("--os-release=@{file}"),
            ".cmdline" => format!("--cmdline=@{file}"),
            ".uname" => format!("--uname={}", parts.version),
            ".initrd" => format!("--initrd={file}"),
            _ => format!("--linux={file}"),
        });
    }
    ukify
}

fn objcopy(parts: &Parts, sections: &[Section], image: &Path) -> Result<(), CommandError> {
    let mut objcopy = program::command("objcopy");
    objcopy.command.args(sections::arguments(&parts.program, sections));
    objcopy.command.arg(&parts.stub).arg(image);
    objcopy.run()?;
    let mut bytes = read(image)?;
    let not_efi = |why| Error::NotEfi { path: image.to_owned(), why };
    let made = pe::program(&bytes).map_err(not_efi)?;
    pe::forget_time(&mut bytes, &made);
    fs::write(image, bytes).map_err(|error| CommandError::io("write", image, error))
}

fn linux(request: &Request<'_>) -> Result<(PathBuf, Vec<u8>), CommandError> {
    if let Some(path) = request.linux {
        return Ok((path.to_owned(), read(path)?));
    }
    let Some((path, mut file)) = kernel::open(request.tree, request.version)? else {
        let (tree, version) = (request.tree.to_owned(), request.version.to_owned());
        return Err(Error::NoLinux { tree, version }.into());
    };
    let bytes = read_file(&mut file).map_err(|error| CommandError::io("read", &path, error))?;
    Ok((path, bytes))
}

/// The stub that was named, else the tree's, else the machine's.
fn stub(request: &Request<'_>, machine: Machine) -> Result<PathBuf, Error> {
    if let Some(path) = request.stub {
        return Ok(path.to_owned());
    }
    let name = format!("linux{}.efi.stub", machine.name());
    let mut places = vec![request.tree.join(STUBS)];
    if request.tree != Path::new("/") {
        places.push(Path::new("/").join(STUBS));
    }
    let found = places.iter().map(|place| place.join(&name)).find(|path| path.is_file());
    found.ok_or(Error::NoStub { name, places })
}

/// The text that was named, else the tree's; a tree without one has no name in a menu.
fn os_release(request: &Request<'_>) -> Result<Vec<u8>, CommandError> {
    if let Some(path) = request.os_release {
        return read(path);
    }
    let path = request.tree.join("usr/lib/os-release");
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| CommandError::io("read", &path, error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    fs::read(path).map_err(|error| CommandError::io("read", path, error))
}

fn read_file(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_command_line_names_no_machine_and_no_generation() {
        assert_eq!(default_cmdline(false), "layers.state=LABEL=layers panic=10");
        assert_eq!(default_cmdline(true), "layers.state=LABEL=layers panic=10 layers.watchdog=120");
    }
}
