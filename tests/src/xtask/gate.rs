//! `cargo xtask gate`.

use super::TaskError;
use crate::gate;
use crate::tools;
use crate::workspace::Workspace;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct GateArguments {
    /// Make the present figures the baseline; say in the commit why they rose
    #[arg(long)]
    renew: bool,
}

pub(super) fn run(arguments: &GateArguments) -> Result<(), TaskError> {
    tools::provide()?;
    let workspace = Workspace::here();
    let figures = gate::measure(&workspace)?;
    if arguments.renew {
        let path = gate::renew(&workspace, figures)?;
        eprintln!("xtask: renewed {}", path.display());
        return Ok(());
    }
    let report = gate::compare(&workspace, &figures)?;
    print!("{report}");
    match report.failures() {
        0 => Ok(()),
        failures => Err(TaskError::Figures { failures }),
    }
}
