//! `layerctl init`.

use layers::layout::Layout;
use layers::store::{self, StoreError, read};

use crate::cli::Init;
use crate::context::{Context, Outcome};
use crate::error::Error;

pub(super) fn run(args: &Init, context: &Context) -> Result<Outcome, Error> {
    let state = context.mount_point();
    let made = if args.writing.dry_run {
        let missing = matches!(store::open(&state), Err(StoreError::Missing(_)));
        if missing {
            let layout = Layout::new(&state);
            let directories = layout.directories();
            let lines = directories.iter().map(|path| format!("create {}\n", path.display()));
            let schema = format!("write {}\n", layout.schema().display());
            return context
                .ui
                .data(lines.chain([schema]).collect::<String>())
                .map(|()| Outcome::Done);
        }
        store::open(&state).map(|_| false)?
    } else {
        read::init(&state)?
    };
    if !made {
        context.ui.say(&format!("there is a store at {} already", state.display()));
        return Ok(Outcome::Unchanged);
    }
    context.ui.say(&format!("made an empty store at {}", Layout::new(&state).top().display()));
    context.ui.say("next: layerctl base import IMAGE");
    Ok(Outcome::Done)
}
