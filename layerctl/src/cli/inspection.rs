//! Arguments of the commands that look into images, and of the checks that changes make.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use layers::id::GenerationId;
use layers::scrutiny::Check;

use super::{Naming, Reading};

/// What a command takes that puts layers and bases together.
#[derive(Debug, Clone, Args)]
pub(crate) struct Allowing {
    /// Go on this time though these checks find something: systems, libraries, conflicts, kinds, shadowing, identity,
    /// devices, setuid, capabilities, directories, var; for good by the table install of layerctl.toml
    #[arg(long, value_name = "CHECK,…", value_delimiter = ',', value_parser = check(), hide_possible_values = true)]
    pub(crate) allow: Vec<Check>,
}

fn check() -> impl TypedValueParser<Value = Check> {
    let known = |name: String| Check::ALL.into_iter().find(|check| check.name() == name);
    PossibleValuesParser::new(Check::ALL.map(Check::name))
        .try_map(move |name| known(name).ok_or("is no check"))
}

/// Arguments of `lint`.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// An image file, or the name of an installed layer
    #[arg(value_name = "IMAGE|NAME")]
    pub(crate) image: String,
    /// Print what the layer has that somebody has to stand for: the lines of `grants` in its manifest
    #[arg(long)]
    pub(crate) grants: bool,
    #[command(flatten)]
    pub(crate) naming: Naming,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `which`.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// A path of the system
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Arguments of `files`.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The name of a layer, or of the base
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) choice: Choice,
    #[command(flatten)]
    pub(crate) reading: Reading,
}

/// Which generation's layers a command looks at.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Choice {
    /// The generation [default: the one that runs, else the one that boots next]
    #[arg(long, value_name = "ID")]
    pub(crate) generation: Option<GenerationId>,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The generation to compare [default: the one that runs; where that boots next too, the one before it]
    #[arg(value_name = "A")]
    pub(crate) from: Option<GenerationId>,
    /// The one to compare it with [default: the one that boots next]
    #[arg(value_name = "B")]
    pub(crate) to: Option<GenerationId>,
    #[command(flatten)]
    pub(crate) reading: Reading,
}
