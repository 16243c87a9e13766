//! `layerctl downgrade`: older versions that an administrator signs off.

use layers::layout::Layout;
use layers::plan::change::Refusal;
use layers::store::{self, lock::Lock, publish};
use layers::trust::{Floors, Purpose};
use serde::Serialize;

use crate::cli::{Downgrade, DowngradeAllow, DowngradeReset, Reading};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::signing::image;
use crate::signing::key::SigningKey;
use crate::signing::password::PasswordSource;
use crate::trust::{self, Guard};
use crate::ui;

pub(super) fn run(verb: &Downgrade, context: &Context) -> Result<Outcome, Error> {
    match verb {
        Downgrade::Allow(args) => allow(args, context),
        Downgrade::List(args) => list(*args, context),
        Downgrade::Reset(args) => reset(args, context),
    }
}

fn allow(args: &DowngradeAllow, context: &Context) -> Result<Outcome, Error> {
    let kind = Purpose::named(&args.kind)
        .filter(|kind| [Purpose::Base, Purpose::Layer, Purpose::Trigger].contains(kind))
        .ok_or_else(|| {
            let what = format!("{:?} is no kind of image", args.kind);
            Refusal::new(what, "name one: base, layer, trigger")
        })?;
    let (name, version) = (args.name.parse()?, args.version.parse()?);
    let layout = store::open(&context.mount_point())?;
    let _lock = if args.writing.dry_run { None } else { Some(Lock::acquire(&layout)?) };
    let (path, beside) = (layout.downgrade(), layout.downgrade_signatures());
    let old = trust::optional(&path)?;
    let mut floors = parse(&layout, old.as_deref())?;
    floors.set(kind, &name, &version);
    let text = floors.to_string();
    // Other keys' signatures are over the text as it was.
    let others = match old.as_deref() == Some(text.as_str()) {
        true => trust::optional(&beside)?,
        false => None,
    };
    if args.writing.dry_run {
        let (path, beside) = (path.display(), beside.display());
        context.ui.data(format!("write {path} ({} bytes)\nwrite {beside}\n", text.len()))?;
        return Ok(Outcome::Done);
    }
    let signer = &args.signer;
    let key = SigningKey::open(&signer.key, &PasswordSource::from(&signer.password))?;
    let signed =
        image::sign_text(context, &key, &signer.key, &text, "downgrade", others.as_deref())?;
    // The signatures come last: until they are there, the new text allows nothing.
    for (path, text) in [(&path, &text), (&beside, &signed)] {
        publish::file(path, text).map_err(|error| Error::io("write", path, error))?;
    }
    context.ui.say(&format!("{} {name} {version} is signed off by key {}", kind.name(), key.id()));
    let guard = Guard::of(context, &layout)?;
    if let Err(why) = guard.trust().signed_off(&text, Some(&signed), guard.now()) {
        context.ui.warn(&format!("this machine does not take it: {} {why}", path.display()));
    }
    Ok(Outcome::Done)
}

fn parse(layout: &Layout, text: Option<&str>) -> Result<Floors, Refusal> {
    text.map_or_else(|| Ok(Floors::default()), str::parse).map_err(|why: String| {
        let what = format!("{} is damaged: {why}", layout.downgrade().display());
        Refusal::new(what, "take all of it back, and sign off anew: layerctl downgrade reset")
    })
}

/// What was signed off, in JSON.
#[derive(Serialize)]
struct View {
    schema: u32,
    /// `KIND NAME VERSION`.
    allowed: Vec<String>,
    /// Why this machine does not take it.
    why_not: Option<String>,
}

fn list(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let layout = store::open(&context.mount_point())?;
    let text = trust::optional(&layout.downgrade())?;
    let floors = parse(&layout, text.as_deref())?;
    let signatures = trust::optional(&layout.downgrade_signatures())?;
    let guard = Guard::of(context, &layout)?;
    let why_not = text
        .as_deref()
        .and_then(|text| guard.trust().signed_off(text, signatures.as_deref(), guard.now()).err());
    let view = View { schema: ui::SCHEMA, allowed: floors.lines().collect(), why_not };
    if args.json {
        context.ui.json(&view)?;
    } else {
        context.ui.data(floors.to_string())?;
        if let Some(why) = view.why_not {
            context.ui.warn(&format!("this machine does not take it: it {why}"));
        }
    }
    Ok(Outcome::Done)
}

fn reset(args: &DowngradeReset, context: &Context) -> Result<Outcome, Error> {
    let layout = store::open(&context.mount_point())?;
    let _lock = if args.writing.dry_run { None } else { Some(Lock::acquire(&layout)?) };
    let paths = [layout.downgrade(), layout.downgrade_signatures()];
    if trust::optional(&paths[0])?.is_none() {
        context.ui.say("nothing is signed off");
        return Ok(Outcome::Unchanged);
    }
    for path in &paths {
        if args.writing.dry_run {
            context.ui.data(format!("remove {}\n", path.display()))?;
        } else {
            publish::remove(path).map_err(|error| Error::io("remove", path, error))?;
        }
    }
    Ok(Outcome::Done)
}
