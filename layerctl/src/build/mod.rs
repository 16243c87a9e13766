//! Layers of packages: built by the base's own package manager in a sandbox over the base.
//!
//! ```text
//! base, layers → Ground ─┬─ network: resolve, download → cache
//!                        └─ no network: install, put files, run scripts → upper
//! upper, Ground → fragments, accounts → Tidy → the tree of a layer → packing
//! ```

#![expect(clippy::disallowed_methods, reason = "makes trees")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use layers::id::{Name, Version};
use layers::manifest::Kind;
use layers::plan::change::{ImageFile, Refusal};
use layers::store::{inspect, stage};
use layers::superblock::Format;

use crate::admission::native_architecture;
use crate::archive;
use crate::context::Context;
use crate::error::Error;
use crate::packing::{self, Recipe};
use crate::sandbox::{Lower, Sandbox};
use crate::source::SourceTree;
use crate::triggers::{self, Table};

mod accounts;
mod alternatives;
mod apt;
mod clean;
mod dnf;
mod dpkg;
mod files;
mod ground;
mod input;
mod manager;
mod on;
mod recipe;
mod release;
mod request;
pub(crate) mod rpm;
mod sources;
mod tidy;
mod union;

use files::{make_directory, put_file, write_into};

pub(crate) use ground::Ground;
pub(crate) use input::Input;
pub(crate) use manager::{Package, Wanted};
pub(crate) use on::{base, layers, open_tree, put_files, with_release};
pub(crate) use recipe::RecipeFile;
pub(crate) use release::Release;
pub(crate) use request::{About, Base, Built, PackagesRequest, PutFile};
pub(crate) use sources::{Cache, Sources};

/// Where lists and packages are kept.
const CACHE: &str = "/var/cache/layerctl";

/// Where a layer says what it adds to files that all share.
const FRAGMENTS: &str = "usr/lib/layerctl/layers";

/// Builds one layer of packages, files and scripts; the image is a file in `work`, a directory on a file system that may
/// be an overlay's upper.
pub(crate) fn build_packages(
    context: &Context,
    request: &PackagesRequest,
    work: &Path,
) -> Result<Built, Error> {
    let build = Build::new(context, request, work)?;
    match build.install()? {
        Installed::Satisfied(packages) => {
            let titles = packages.iter().map(|it| format!("{} {}", it.name, it.version));
            Ok(Built::Satisfied(titles.collect::<Vec<_>>().join(", ")))
        }
        Installed::Upper { first, fragments, bytecode } => {
            let (name, version) = name_and_version(request, first.as_ref())?;
            build.make_tree(&name, fragments, bytecode)?;
            build.pack(name, version).map(|image| Built::Image(Box::new(image)))
        }
    }
}

struct Build<'a> {
    context: &'a Context,
    request: &'a PackagesRequest,
    ground: Ground,
    sandbox: Sandbox,
    work: PathBuf,
    /// Now, by the clock of the file system that gets the files.
    started: std::time::SystemTime,
}

enum Installed {
    Satisfied(Vec<Package>),
    Upper {
        first: Option<Package>,
        fragments: Vec<(&'static str, Vec<u8>)>,
        /// Whether byte code comes with packages.
        bytecode: bool,
    },
}

impl<'a> Build<'a> {
    fn new(context: &'a Context, request: &'a PackagesRequest, work: &Path) -> Result<Self, Error> {
        check_place(work)?;
        // Before anything is made that may come into the layer.
        let started = archive::file_time(work)?;
        let mut lowers = vec![request.base.lower()];
        for layer in &request.on {
            lowers.insert(0, Lower::Image { path: layer.path.clone(), format: layer.format });
        }
        if let Some(top) = compose(context, request, work)? {
            lowers.insert(0, top);
        }
        let (upper, scratch) = (work.join("upper"), work.join("sandbox"));
        make_directory(&upper)?;
        make_directory(&scratch)?;
        let sandbox = Sandbox {
            lowers,
            upper,
            work: scratch,
            binds: Vec::new(),
            network: false,
            epoch: context.environment.epoch,
        };
        Ok(Self {
            context,
            request,
            ground: Ground::open(&sandbox.lowers)?,
            sandbox,
            work: work.to_owned(),
            started,
        })
    }

    /// Puts all that is asked for into the upper.
    fn install(&self) -> Result<Installed, Error> {
        let wanted = &self.request.wanted;
        let (mut first, mut fragments, mut bytecode) = (None, Vec::new(), false);
        if wanted.installs() || !wanted.remove.is_empty() {
            manager::check_names(&wanted.packages)?;
            manager::check_names(&wanted.remove)?;
            let cache = self.cache()?;
            let _lock = cache.lock()?;
            let manager = manager::choose(&self.ground, wanted, self.sources()?, cache)?;
            let sandbox = Sandbox { binds: manager.binds(wanted)?, ..self.sandbox.clone() };
            if let Some(packages) = manager.installed(&sandbox, wanted)? {
                return Ok(Installed::Satisfied(packages));
            }
            manager.declared(wanted, self.room()?)?;
            if wanted.installs() && !self.request.offline {
                self.download(manager.as_ref(), &sandbox)?;
            }
            let spinner = self.context.ui.spinner("installing packages");
            manager.install(&sandbox, wanted)?;
            first = manager.first(&sandbox, wanted)?;
            self.add_files(&sandbox)?;
            fragments = manager.fragments(&self.ground, &sandbox)?;
            bytecode = manager.ships_bytecode();
            spinner.finish_and_clear();
            if fragments.is_empty() {
                return Ok(Installed::Satisfied(first.into_iter().collect()));
            }
        } else {
            self.add_files(&self.sandbox)?;
        }
        Ok(Installed::Upper { first, fragments, bytecode })
    }

    fn download(
        &self,
        manager: &dyn manager::PackageManager,
        sandbox: &Sandbox,
    ) -> Result<(), Error> {
        let spinner = self.context.ui.spinner("downloading packages");
        // What is written while packages are chosen and fetched is in no layer.
        let (upper, work) = (self.work.join("download"), self.work.join("download-sandbox"));
        make_directory(&upper)?;
        make_directory(&work)?;
        let online = Sandbox { upper, work, network: true, ..sandbox.clone() };
        let needed = manager.download(&online, &self.request.wanted)?;
        spinner.finish_and_clear();
        self.check_size(needed)
    }

    /// What is declared is a limit, so that nothing fills the disk.
    fn check_size(&self, needed: u64) -> Result<(), Error> {
        check_size(needed, self.free()?, self.request.max_size, "the packages")
    }

    fn free(&self) -> Result<u64, Error> {
        stage::free(&self.work)
            .map_err(|error| Error::io("ask for free space in", &self.work, error))
    }

    /// The bytes that the layer may have.
    fn room(&self) -> Result<u64, Error> {
        let free = self.free()?;
        Ok(self.request.max_size.map_or(free, |max| max.min(free)))
    }

    fn sources(&self) -> Result<Option<Sources>, Error> {
        self.request.sources.as_deref().map(Sources::load).transpose()
    }

    /// Packages of one name and version are others in another distribution.
    fn cache(&self) -> Result<Cache, Error> {
        let field = |key| Ok::<_, Error>(self.ground.os_field(key)?.unwrap_or_default());
        let system = format!("{}-{}", field("ID")?, field("VERSION_ID")?);
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' };
        let system: String = system.chars().map(plain).collect();
        let directory = self.request.cache.as_deref().unwrap_or(Path::new(CACHE));
        Ok(Cache::new(directory, system.trim_start_matches('.'), self.request.offline))
    }

    /// Puts the files there and runs the scripts.
    fn add_files(&self, sandbox: &Sandbox) -> Result<(), Error> {
        for file in &self.request.files {
            put_file(file, &sandbox.upper)?;
        }
        for script in &self.request.scripts {
            manager::run(sandbox, "/bin/sh", &["-euc", script], &[])?;
        }
        Ok(())
    }

    /// Makes the upper the tree of a layer.
    fn make_tree(
        &self,
        name: &Name,
        mut fragments: Vec<(&'static str, Vec<u8>)>,
        bytecode: bool,
    ) -> Result<(), Error> {
        let upper = &self.sandbox.upper;
        let added = self.accounts()?;
        let table = Table::built_in()?;
        let bytecode = match bytecode {
            true => None,
            false => Some(shipped_bytecode(upper)?),
        };
        let tidy = tidy::Tidy {
            ground: &self.ground,
            table: &table,
            bytecode,
            packages: dpkg_packages(&fragments),
            uids: added.uids,
            gids: added.gids,
        };
        tidy.run(upper)?;
        let own = Path::new(FRAGMENTS).join(name.as_str());
        if !added.text.is_empty() {
            let path = format!("usr/lib/sysusers.d/layerctl-{name}.conf");
            write_into(upper, Path::new(&path), added.text.as_bytes())?;
            fragments.push(("accounts", added.text.into_bytes()));
        }
        for (fragment, text) in &fragments {
            write_into(upper, &own.join(fragment), text)?;
        }
        if !release::has(upper, name) {
            let architecture = native_architecture();
            let release = match &self.request.about.fits {
                Some(release) => release.clone(),
                None => Release::of(&self.ground, &architecture)?,
            };
            release::write(upper, name, &release)?;
        }
        tidy::settle_times(upper, self.started, self.context.environment.epoch)
    }

    fn accounts(&self) -> Result<accounts::Added, Error> {
        let before = |path: &str| -> Result<String, Error> {
            Ok(String::from_utf8_lossy(&self.ground.read(path)?.unwrap_or_default()).into_owned())
        };
        let after = |path: &str, before: &str| match fs::read(self.sandbox.upper.join(path)) {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(before.to_owned()),
            Err(error) => Err(Error::io("read", &self.sandbox.upper.join(path), error)),
        };
        let (passwd, group) = (before("etc/passwd")?, before("etc/group")?);
        let (new_passwd, new_group) = (after("etc/passwd", &passwd)?, after("etc/group", &group)?);
        Ok(accounts::added(
            accounts::Files { passwd: &passwd, group: &group },
            accounts::Files { passwd: &new_passwd, group: &new_group },
        ))
    }

    fn pack(&self, name: Name, version: Version) -> Result<ImageFile, Error> {
        let upper = &self.sandbox.upper;
        let about = &self.request.about;
        let contents =
            inspect::tree(upper).map_err(|(path, error)| Error::io("read", &path, error))?;
        let recipe = Recipe {
            name,
            version,
            kind: Kind::Layer,
            architecture: about.architecture.clone().unwrap_or_else(native_architecture),
            format: about.format.unwrap_or(Format::Erofs),
            requires: about.requires.clone(),
            conflicts: about.conflicts.clone(),
            required: about.required,
            // What the package manager deleted is meant to be deleted.
            deletes: contents.deletes,
        };
        let tree = SourceTree::open(upper, &self.work)?;
        let path = self.work.join("image");
        let manifest = packing::pack(self.context, &tree, recipe, &path)?;
        Ok(ImageFile { path, manifest, signed: None, kernel: None })
    }
}

/// An overlay takes no other one for its upper.
fn check_place(work: &Path) -> Result<(), Error> {
    /// OVERLAYFS_SUPER_MAGIC (linux/magic.h).
    const OVERLAY: rustix::fs::FsWord = 0x794c_7630;
    let statistics =
        rustix::fs::statfs(work).map_err(|error| Error::io("ask what is below", work, error))?;
    if statistics.f_type != OVERLAY {
        return Ok(());
    }
    let directory = work.parent().unwrap_or(work).display();
    let what = format!("{directory} is on an overlay, where no packages can be installed");
    Err(Refusal::new(what, "choose a directory on another file system: -o /tmp/FILE.img").into())
}

/// What stands on top of the layers that are built on: without it, their packages and users would not be known.
fn compose(
    context: &Context,
    request: &PackagesRequest,
    work: &Path,
) -> Result<Option<Lower>, Error> {
    if request.on.is_empty() {
        return Ok(None);
    }
    let Base::Image(base) = &request.base else {
        let hint =
            "pack the base first: layerctl build DIR --kind base --name N --version V -o BASE.img";
        return Err(Refusal::new("a layer is built on others only over a base image", hint).into());
    };
    let stack = triggers::Stack { base: (**base).clone(), layers: request.on.clone() };
    let directory = work.join("on");
    make_directory(&directory)?;
    let composed = triggers::compose(context, &Table::built_in()?, &stack, &directory)?;
    let lower = |image: &ImageFile| {
        let (path, format) = (image.path.clone(), image.manifest.format);
        Lower::Image { path, format }
    };
    Ok(composed.image().map(lower))
}

/// Refuses what is larger than there is room, or than was allowed.
pub(crate) fn check_size(
    needed: u64,
    free: u64,
    max: Option<u64>,
    what: &str,
) -> Result<(), Error> {
    if let Some(max) = max.filter(|max| needed > *max) {
        let text = format!("{what} would take {needed} bytes, and --max-size allows {max}");
        return Err(Refusal::new(text, "look at what they are; or allow more: --max-size").into());
    }
    if needed > free {
        let text = format!("{what} would take {needed} bytes, and {free} are free");
        return Err(Refusal::new(text, "free space, or build elsewhere: -o DIR/FILE.img").into());
    }
    Ok(())
}

fn name_and_version(
    request: &PackagesRequest,
    first: Option<&Package>,
) -> Result<(Name, Version), Error> {
    let unknown = |what: &str| {
        let text = format!("the layer's {what} is unknown: it has no package to take it from");
        Refusal::new(text, format!("give it: --{what}"))
    };
    let name = match (&request.name, first) {
        (Some(name), _) => name.clone(),
        (None, Some(package)) => package.name.parse()?,
        (None, None) => return Err(unknown("name").into()),
    };
    let version = match (&request.version, first) {
        (Some(version), _) => version.clone(),
        (None, Some(package)) => layer_version(&package.version).parse()?,
        (None, None) => return Err(unknown("version").into()),
    };
    Ok((name, version))
}

/// A package's version without its epoch, in the characters that a layer's version may have (deb-version(7)).
fn layer_version(version: &str) -> String {
    let rest = version.split_once(':').map_or(version, |(_, rest)| rest);
    let usable = |c: char| c.is_ascii_alphanumeric() || "+.~^-".contains(c);
    rest.chars().map(|c| if usable(c) { c } else { '.' }).collect()
}

/// The packages that a layer adds, changes or takes away.
fn dpkg_packages(fragments: &[(&'static str, Vec<u8>)]) -> BTreeSet<String> {
    let mut packages = BTreeSet::new();
    for (name, text) in fragments {
        match *name {
            "dpkg-status" => packages.extend(dpkg::names(text)),
            "dpkg-removed" => {
                let text = String::from_utf8_lossy(text);
                let names = text.lines().map(|line| line.split(':').next().unwrap_or_default());
                packages.extend(names.map(str::to_owned));
            }
            _ => {}
        }
    }
    packages
}

/// Paths of byte code that dpkg's lists name.
fn shipped_bytecode(upper: &Path) -> Result<BTreeSet<PathBuf>, Error> {
    let directory = upper.join("var/lib/dpkg/info");
    let mut shipped = BTreeSet::new();
    let Ok(listing) = fs::read_dir(&directory) else { return Ok(shipped) };
    for entry in listing {
        let path = entry.map_err(|error| Error::io("read", &directory, error))?.path();
        // The list of a package that went is a whiteout.
        if path.extension().is_some_and(|ending| ending == "list") && path.is_file() {
            let text = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let paths = text.lines().map(|line| PathBuf::from(line.trim_start_matches('/')));
            shipped.extend(paths.filter(|path| clean::is_bytecode(path)));
        }
    }
    Ok(shipped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_version_becomes_a_layer_s() {
        for (package, layer) in [
            ("3.4.1-5", "3.4.1-5"),
            ("2:1.0~rc1+b2-1", "1.0~rc1+b2-1"),
            ("1.0^git_3-1", "1.0^git.3-1"),
        ] {
            assert_eq!(layer_version(package), layer);
            assert!(layer_version(package).parse::<Version>().is_ok());
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert!(check_size(10, 20, None, "x").is_ok());
        assert!(check_size(30, 20, None, "x").is_err());
        assert!(check_size(10, 20, Some(9), "x").is_err());
    }
}
