//! `layerctl trust`: what is in force, and the store's own file, which only ever asks for more.

use layers::layout::Layout;
use layers::plan::change::Refusal;
use layers::signature::KeyId;
use layers::store::{self, lock::Lock, publish};
use layers::trust::{Trust, Verify};
use serde::Serialize;

use crate::cli::{Reading, TrustRequire, TrustRevoke, TrustVerb, Writing};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::trust::{self, Guard, TrustFile};
use crate::ui;

pub(super) fn run(verb: &TrustVerb, context: &Context) -> Result<Outcome, Error> {
    match verb {
        TrustVerb::Show(args) => show(*args, context),
        TrustVerb::Revoke(args) => revoke(args, context),
        TrustVerb::Require(args) => require(args, context),
    }
}

/// What is in force, in JSON.
#[derive(Serialize)]
struct View<'a> {
    schema: u32,
    verify: Verify,
    corruption: &'static str,
    threshold: usize,
    keys: Vec<Key>,
    revoked: Vec<String>,
    /// `KIND NAME VERSION`.
    minimum: Vec<String>,
    /// The files that say so.
    files: Vec<&'a str>,
}

#[derive(Serialize)]
struct Key {
    id: String,
    /// Its line in a trust file, without the first word.
    line: String,
    revoked: bool,
    expired: bool,
}

fn show(args: Reading, context: &Context) -> Result<Outcome, Error> {
    let layout = store::open(&context.mount_point())?;
    let guard = Guard::of(context, &layout)?;
    let own = context.trust_file()?;
    let stored = TrustFile::optional(&layout.trust())?;
    let files: Vec<String> =
        own.iter().chain(&stored).map(|file| file.path.display().to_string()).collect();
    let in_force = guard.trust();
    if args.json {
        let key = |key: &layers::trust::Key| Key {
            id: key.public.id().to_string(),
            line: key.to_string(),
            revoked: in_force.revoked.contains(&key.public.id()),
            expired: key.is_expired(guard.now()),
        };
        context.ui.json(&View {
            schema: ui::SCHEMA,
            verify: in_force.verify,
            corruption: in_force.corruption.name(),
            threshold: in_force.threshold,
            keys: in_force.keys.iter().map(key).collect(),
            revoked: in_force.revoked.iter().map(ToString::to_string).collect(),
            minimum: in_force.minimum.lines().collect(),
            files: files.iter().map(String::as_str).collect(),
        })?;
    } else {
        context.ui.data(in_force.to_string())?;
        match files.as_slice() {
            [] => context.ui.say("no trust file says anything"),
            files => context.ui.say(&format!("as {} say", files.join(" and "))),
        }
    }
    let merged = own.map(|file| TrustFile { trust: in_force.clone(), ..file });
    let doubts = merged.iter().flat_map(|file| file.doubts(guard.now()));
    doubts.for_each(|doubt| context.ui.warn(&doubt));
    Ok(Outcome::Done)
}

fn revoke(args: &TrustRevoke, context: &Context) -> Result<Outcome, Error> {
    let id: KeyId = args.id.parse().map_err(|error: layers::signature::SignatureError| {
        Refusal::new(error.to_string(), "see the keys: layerctl trust show --json")
    })?;
    edit(context, args.writing, |_, stored| {
        let new = stored.revoked.insert(id);
        Ok(new.then(|| format!("key {id} is revoked: what it alone signed boots no more")))
    })
}

fn require(args: &TrustRequire, context: &Context) -> Result<Outcome, Error> {
    edit(context, args.writing, |layout, stored| {
        if stored.verify == Verify::Require {
            return Ok(None);
        }
        // Whoever asks for signatures without having them would not boot again.
        let store = context.read()?;
        let guard = Guard::of(context, layout)?.requiring();
        if let Ok(start) = store.state.start() {
            trust::check_generation(context, &guard, start, &store.state, layout)?;
        }
        stored.verify = Verify::Require;
        Ok(Some("every image has to be signed from now on, and at the next boot".to_owned()))
    })
}

/// Changes the store's own file; `change` says what it did, or nothing.
fn edit(
    context: &Context,
    writing: Writing,
    change: impl FnOnce(&Layout, &mut Trust) -> Result<Option<String>, Error>,
) -> Result<Outcome, Error> {
    let layout = store::open(&context.mount_point())?;
    let _lock = if writing.dry_run { None } else { Some(Lock::acquire(&layout)?) };
    let path = layout.trust();
    let mut stored = TrustFile::optional(&path)?.map(|file| file.trust).unwrap_or_default();
    let Some(said) = change(&layout, &mut stored)? else {
        context.ui.say("all is as asked for before");
        return Ok(Outcome::Unchanged);
    };
    let text = stored.to_string();
    if writing.dry_run {
        context.ui.data(format!("write {} ({} bytes)\n", path.display(), text.len()))?;
        return Ok(Outcome::Done);
    }
    publish::file(&path, &text).map_err(|error| Error::io("write", &path, error))?;
    context.ui.say(&said);
    Ok(Outcome::Done)
}
