//! `layerctl etc diff`.

use layers::plan::change::Refusal;

use crate::cli::EtcDiff;
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::etc::changes::{Change, between};
use crate::etc::diff::Sides;
use crate::etc::path::EtcPath;
use crate::etc::tree::Tree;
use crate::etc::view::Views;

pub(super) fn run(args: &EtcDiff, context: &Context) -> Result<Outcome, Error> {
    let paths = EtcPath::parse_all(&args.paths)?;
    let store = context.read()?;
    let views = Views::new(context, &store)?;
    let current = views.current()?;
    let to = Tree::read(&views.merged(current)?)?;
    let (from, name) = match args.generation {
        Some(id) => {
            let other = views.merged(store.state.readable(id)?)?;
            (Tree::read(&other)?, format!("generation-{id}"))
        }
        None => (Tree::read(&views.image(current)?)?, "image".to_owned()),
    };
    let there = |path: &&EtcPath| {
        let path = path.relative();
        from.get(path).is_none() && to.get(path).is_none()
    };
    if let Some(path) = paths.iter().find(there) {
        let what = format!("there is no {path}, neither here nor in the other version");
        return Err(Refusal::new(what, "see what differs: layerctl etc status").into());
    }
    let changes = between(&from, &to)?;
    let wanted = |change: &&Change| {
        paths.is_empty()
            || paths.iter().any(|path| {
                path.covers(&change.path)
                    || path.relative().starts_with(&change.path)
                        && !change.path.as_os_str().is_empty()
            })
    };
    let sides = Sides { from: (&from, name), to: (&to, "current".to_owned()) };
    for change in changes.iter().filter(wanted) {
        context.ui.data(sides.text(change, &context.ui)?)?;
    }
    Ok(Outcome::Done)
}
