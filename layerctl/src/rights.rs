//! Which capabilities (capabilities(7)) a command cannot do without. It is asked before anything is done: half a change that
//! stops for want of one is worse than none.

use caps::{CapSet, Capability};

use crate::cli::{Base, Boot, Command, Downgrade, Etc, Override, Repo, Set, TrustVerb};
use crate::error::Error;

/// The store and its uppers belong to root and nobody else may enter them.
const STORE: &[Capability] = &[Capability::CAP_DAC_OVERRIDE];

/// Files of whoever wrote them are deleted with the uppers.
const UPPERS: &[Capability] = &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_FOWNER];

/// Images are mounted to be looked into, and programs run over them.
const IMAGES: &[Capability] = &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_ADMIN];

/// Files of /etc get the images' owners, modes and attributes, over mounted images.
const ETC: &[Capability] = &[
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_SYS_ADMIN,
];

/// Whoever may write the file that is named, or reads only.
const NONE: &[Capability] = &[];

/// The verb as it is typed and what it needs. Each verb has a line: a new one does not compile without.
fn needed(command: &Command) -> (&'static str, &'static [Capability]) {
    match command {
        Command::Init(_) => ("init", STORE),
        Command::Base(Base::Import(_)) => ("base import", IMAGES),
        Command::Build(_) => ("build", NONE),
        Command::Install(_) => ("install", IMAGES),
        Command::Uninstall(_) => ("uninstall", IMAGES),
        Command::Override(Override::Remove(_)) => ("override remove", IMAGES),
        Command::Override(Override::Replace(_)) => ("override replace", IMAGES),
        Command::Override(Override::Reset(_)) => ("override reset", IMAGES),
        Command::Set(Set::Create(_)) => ("set create", IMAGES),
        Command::Set(Set::Delete(_)) => ("set delete", IMAGES),
        Command::Set(Set::List(_) | Set::Show(_)) => ("set", NONE),
        Command::Etc(Etc::Reset(_)) => ("etc reset", ETC),
        Command::Etc(Etc::Take(_)) => ("etc take", ETC),
        Command::Etc(Etc::Sync(_)) => ("etc sync", ETC),
        Command::Etc(Etc::Status(_) | Etc::Diff(_) | Etc::Conflicts(_)) => ("etc", NONE),
        Command::Policy(_) => ("policy apply", STORE),
        Command::Reset(_) => ("reset", STORE),
        Command::Kargs(_) => ("kargs", STORE),
        Command::Boot(Boot::Sync(_)) => ("boot sync", STORE),
        Command::Boot(Boot::List(_)) => ("boot list", NONE),
        Command::Rollback(_) => ("rollback", STORE),
        Command::MarkGood(_) => ("mark-good", STORE),
        Command::Pin(_) => ("pin", STORE),
        Command::Unpin(_) => ("unpin", STORE),
        Command::Cleanup(_) => ("cleanup", UPPERS),
        Command::Downgrade(Downgrade::Allow(_)) => ("downgrade allow", STORE),
        Command::Downgrade(Downgrade::Reset(_)) => ("downgrade reset", STORE),
        Command::Downgrade(Downgrade::List(_)) => ("downgrade list", NONE),
        Command::Trust(TrustVerb::Revoke(_)) => ("trust revoke", STORE),
        Command::Trust(TrustVerb::Require(_)) => ("trust require", STORE),
        Command::Trust(TrustVerb::Show(_)) => ("trust show", NONE),
        // Keys and images are files like others; in the store they are the store's.
        Command::Key(_) | Command::Sign(_) => ("sign", NONE),
        Command::Upgrade(_) => ("upgrade", IMAGES),
        // The cache and the definitions of repositories are files like others.
        Command::Repo(Repo::Add(_) | Repo::Remove(_) | Repo::Refresh(_)) => ("repo", NONE),
        Command::Repo(Repo::Index(_) | Repo::List(_)) => ("repo", NONE),
        Command::Initrd(_) => ("initrd", NONE),
        Command::Status(_) | Command::History(_) | Command::Verify(_) => ("status", NONE),
        Command::Lint(_) | Command::Which(_) | Command::Files(_) => ("lint", NONE),
        Command::Diff(_) | Command::Plan(_) | Command::Health(_) => ("diff", NONE),
        Command::Search(_) | Command::Completions(_) | Command::Man(_) => ("search", NONE),
    }
}

/// Refuses a command that writes and lacks a capability for it, with all that it lacks.
pub(crate) fn check(command: &Command) -> Result<(), Error> {
    if !command.writes() {
        return Ok(());
    }
    let (verb, needed) = needed(command);
    // Where the kernel does not say, what is done says it.
    let lacks = |it: &Capability| !caps::has_cap(None, CapSet::Effective, *it).unwrap_or(true);
    let missing: Vec<Capability> = needed.iter().copied().filter(lacks).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Rights { verb, missing }) }
}
