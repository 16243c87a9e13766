//! `layerctl key`.

use crate::cli::{Key, KeyGenerate};
use crate::context::{Context, Outcome};
use crate::error::Error;
use crate::signing::key::{self, KeyFiles, SigningKey};
use crate::signing::password::PasswordSource;

pub(super) fn run(verb: &Key, context: &Context) -> Result<Outcome, Error> {
    match verb {
        Key::Generate(args) => generate(args, context),
    }
}

fn generate(args: &KeyGenerate, context: &Context) -> Result<Outcome, Error> {
    let files = KeyFiles::of(&args.output);
    args.comment.as_deref().map_or(Ok(()), key::check_comment)?;
    files.check_free()?;
    let (secret, public) = (files.secret.display(), files.public.display());
    if args.writing.dry_run {
        context.ui.data(format!("write {secret}\nwrite {public}\n"))?;
        return Ok(Outcome::Done);
    }
    let password = match args.no_password {
        true => None,
        false => Some(PasswordSource::from(&args.password).choose(&files.secret)?),
    };
    let made = SigningKey::generate(&files, password, args.comment.as_deref())?;
    context.ui.data(format!("key {}\n", made.to_base64()))?;
    let id = key::id(made.keynum());
    context.ui.say(&format!("made key {id}: {secret}, to be kept secret, and {public}"));
    context
        .ui
        .say("to trust it, put the line above into /etc/layerctl/trust: docs/verification.md");
    Ok(Outcome::Done)
}
