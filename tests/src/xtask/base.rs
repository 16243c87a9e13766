//! `cargo xtask base`.

use super::TaskError;
use crate::base::{self, Builder, Tree};
use crate::programs::Programs;
use crate::tools;
use crate::workspace::Workspace;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct BaseArguments {
    /// The program that makes the tree
    #[arg(long, value_enum, default_value_t = Builder::Mmdebstrap)]
    with: Builder,
    /// Make the tree with both programs and compare packages, units and files
    #[arg(long, conflicts_with = "with")]
    compare: bool,
}

pub(super) fn run(arguments: &BaseArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let workspace = Workspace::here();
    if arguments.compare {
        let left = Tree::build(&workspace, Builder::Mmdebstrap)?;
        let right = Tree::build(&workspace, Builder::Mkosi)?;
        let comparison = base::compare(&left, &right)?;
        print!("mmdebstrap (left) and mkosi (right)\n{comparison}");
        return if comparison.is_same() { Ok(()) } else { Err(TaskError::Different) };
    }
    let programs = Programs::build(&workspace)?;
    let tree = Tree::build(&workspace, arguments.with)?;
    println!("{}", base::image(&workspace, &tree, &programs)?.display());
    Ok(())
}
