//! `layerctl etc take`.

use super::edit::{self, Decision};
use super::reset::to_image;
use crate::cli::EtcTake;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::etc::path::EtcPath;

pub(super) fn run(args: &EtcTake, context: &Context) -> Result<Outcome, Error> {
    let path = EtcPath::parse(&args.path)?;
    let side = if args.theirs { "--theirs" } else { "--mine" };
    let asked = format!("etc take {path} {side}");
    edit::change(context, args.writing.dry_run, &asked, |_, views| {
        if args.theirs {
            return to_image(views, vec![path]);
        }
        let unchanged = format!("nothing to settle: no conflict at {path} is open");
        Ok(Decision { edits: Vec::new(), source: None, settled: vec![path], unchanged })
    })
}
