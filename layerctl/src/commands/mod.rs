//! One file for each verb.

use crate::cli::{Base, Boot, Command, Set};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::rights;

mod base;
mod boot;
mod build;
mod cleanup;
mod completions;
mod diff;
mod downgrade;
mod etc;
mod files;
mod generations;
mod health;
mod history;
mod init;
mod initrd;
mod install;
mod kargs;
mod key;
mod lint;
mod man;
mod mark_good;
mod overrides;
mod packages;
mod pin;
mod plan;
mod policy;
mod repo;
mod reset;
mod rollback;
mod search;
mod set;
mod sign;
mod stack;
mod status;
mod trust;
mod uninstall;
mod upgrade;
mod verify;
mod which;

/// Does what the command line says.
pub(crate) fn run(command: &Command, context: &Context) -> Result<Outcome, Error> {
    rights::check(command)?;
    match command {
        Command::Init(args) => init::run(args, context),
        Command::Base(Base::Import(args)) => base::import(args, context),
        Command::Build(args) => build::run(args, context),
        Command::Install(args) => install::run(args, context),
        Command::Override(args) => overrides::run(args, context),
        Command::Uninstall(args) => uninstall::run(args, context),
        Command::Set(Set::Create(args)) => set::create(args, context),
        Command::Set(Set::Delete(args)) => set::delete(args, context),
        Command::Set(Set::List(args)) => set::list(*args, context),
        Command::Set(Set::Show(args)) => set::show(args, context),
        Command::Etc(args) => etc::run(args, context),
        Command::Policy(args) => policy::run(args, context),
        Command::Reset(args) => reset::run(args, context),
        Command::Kargs(args) => kargs::run(args, context),
        Command::Boot(Boot::List(args)) => boot::list(*args, context),
        Command::Boot(Boot::Sync(args)) => boot::sync(args, context),
        Command::Status(args) => status::run(*args, context),
        Command::History(args) => history::run(*args, context),
        Command::Rollback(args) => rollback::run(args, context),
        Command::MarkGood(args) => mark_good::run(args, context),
        Command::Health(args) => health::run(args, context),
        Command::Pin(args) => pin::pin(args, context),
        Command::Unpin(args) => pin::unpin(args, context),
        Command::Cleanup(args) => cleanup::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Lint(args) => lint::run(args, context),
        Command::Which(args) => which::run(args, context),
        Command::Files(args) => files::run(args, context),
        Command::Diff(args) => diff::run(args, context),
        Command::Plan(args) => plan::run(args, context),
        Command::Initrd(args) => initrd::run(args, context),
        Command::Repo(verb) => repo::run(verb, context),
        Command::Search(args) => search::run(args, context),
        Command::Upgrade(args) => upgrade::run(args, context),
        Command::Key(verb) => key::run(verb, context),
        Command::Sign(args) => sign::run(args, context),
        Command::Downgrade(verb) => downgrade::run(verb, context),
        Command::Trust(verb) => trust::run(verb, context),
        Command::Completions(args) => completions::run(args, context),
        Command::Man(args) => man::run(args, context),
    }
}

/// Names as typed.
fn names<T: std::str::FromStr<Err = layers::id::IdError>>(
    typed: &[String],
) -> Result<Vec<T>, Error> {
    typed.iter().map(|text| text.parse().map_err(Error::from)).collect()
}

/// Names in one line, for the log.
fn words<T: ToString>(names: &[T]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
