//! `layerctl kargs`: a generation that differs from the one before in its kernel arguments.
//!
//! The words mean what they mean to rpm-ostree (rpm-ostree(1), `kargs`): deletions first, then replacements, then additions.

use super::{Decision, Draft, Refusal, Request, State, publish};
use crate::kernel::{check_option, check_options, key_and_value};
use crate::layout::Layout;

/// What is to become of the arguments; each item is `KEY` or `KEY=VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KargsEdit {
    /// Taken away: a value of the key, or the key where it has one value only.
    pub delete: Vec<String>,
    /// `KEY=NEW` for a key with one value, or `KEY=OLD=NEW`.
    pub replace: Vec<String>,
    /// Added at the end.
    pub append: Vec<String>,
    /// Added at the end, where it is not there yet.
    pub append_if_missing: Vec<String>,
}

impl KargsEdit {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The arguments after the edit.
    pub fn apply(&self, options: &[String]) -> Result<Vec<String>, Refusal> {
        let mut options = options.to_vec();
        self.delete.iter().try_for_each(|item| delete(&mut options, item))?;
        self.replace.iter().try_for_each(|item| replace(&mut options, item))?;
        for item in &self.append {
            options.push(checked(item)?);
        }
        for item in &self.append_if_missing {
            let item = checked(item)?;
            if !options.contains(&item) {
                options.push(item);
            }
        }
        Ok(options)
    }
}

/// Decides how a generation with other kernel arguments is made.
pub fn change_kargs(
    state: &State,
    layout: &Layout,
    edit: &KargsEdit,
    request: &Request,
) -> Result<Decision, Refusal> {
    let start = state.start()?;
    let options = edit.apply(&start.options)?;
    if options == start.options {
        let why = format!("generation {} has these kernel arguments already", start.id);
        return Ok(Decision::unchanged(why));
    }
    check_options(&options)
        .map_err(|what| Refusal::new(what, "take some away: layerctl kargs --delete KEY=VALUE"))?;
    let shown = match options.as_slice() {
        [] => "no kernel arguments of its own".to_owned(),
        options => format!("kernel arguments {}", options.join(" ")),
    };
    let draft = Draft { options, ..Draft::of(start) };
    publish(state, layout, request, draft, &[], vec![shown])
}

/// An argument that may stand in a generation.
fn checked(item: &str) -> Result<String, Refusal> {
    check_option(item)
        .map_err(|what| Refusal::new(what, "quote a value with blanks: 'key=\"a b\"'"))?;
    if key_and_value(item).0 == "layers.generation" {
        return Err(Refusal::new(
            "layers.generation is what boot entries add: each names its own generation",
            "choose the generation to boot: layerctl rollback ID",
        ));
    }
    Ok(item.to_owned())
}

/// Whether both are arguments of one key.
fn same_key(option: &str, item: &str) -> bool {
    key_and_value(option).0 == key_and_value(item).0
}

fn list() -> &'static str {
    "see which there are: layerctl kargs"
}

fn delete(options: &mut Vec<String>, item: &str) -> Result<(), Refusal> {
    let of_key: Vec<usize> = positions(options, |option| same_key(option, item));
    let exact = positions(options, |option| option == item);
    let at = match (exact.first(), of_key.as_slice(), item.contains('=')) {
        (Some(at), _, _) => *at,
        (None, [at], false) => *at,
        (None, [], _) => {
            return Err(Refusal::new(format!("there is no kernel argument {item}"), list()));
        }
        (None, _, true) => {
            return Err(Refusal::new(
                format!("no kernel argument is {item}: that key has other values"),
                list(),
            ));
        }
        (None, _, false) => {
            return Err(Refusal::new(
                format!("the kernel argument {item} has several values"),
                format!("say which goes: layerctl kargs --delete {item}=VALUE"),
            ));
        }
    };
    options.remove(at);
    Ok(())
}

fn replace(options: &mut [String], item: &str) -> Result<(), Refusal> {
    let of_key = positions(options, |option| same_key(option, item));
    // KEY=OLD=NEW, wherever OLD ends: values may have = in them.
    let key = item.split('=').next().unwrap_or(item);
    let rest = item.get(key.len() + 1..).unwrap_or_default();
    let split = rest.match_indices('=').find_map(|(end, _)| {
        let (old, new) = (rest.get(..end)?, rest.get(end + 1..)?);
        let is_old = |at: &&usize| {
            options.get(**at).is_some_and(|option| key_and_value(option).1 == Some(old))
        };
        Some((*of_key.iter().find(is_old)?, format!("{key}={new}")))
    });
    let (at, new) = match (split, of_key.as_slice()) {
        (Some(found), _) => found,
        (None, []) => {
            return Err(Refusal::new(
                format!("there is no kernel argument {key}"),
                format!("add it: layerctl kargs --append {item}"),
            ));
        }
        // KEY=OLD=NEW with another OLD, unless values of this key have = in them.
        (None, [at]) if rest.contains('=') && !has_equals(options, *at) => {
            return Err(Refusal::new(
                format!("no kernel argument {key} has the value that {item} replaces"),
                list(),
            ));
        }
        (None, [at]) => (*at, item.to_owned()),
        (None, _) => {
            return Err(Refusal::new(
                format!("the kernel argument {key} has several values"),
                format!("say which one changes: layerctl kargs --replace {key}=OLD=NEW"),
            ));
        }
    };
    let new = checked(&new)?;
    if let Some(option) = options.get_mut(at) {
        *option = new;
    }
    Ok(())
}

fn has_equals(options: &[String], at: usize) -> bool {
    options.get(at).and_then(|option| key_and_value(option).1).is_some_and(|old| old.contains('='))
}

fn positions(options: &[String], is: impl Fn(&str) -> bool) -> Vec<usize> {
    let places = options.iter().enumerate();
    places.filter(|(_, option)| is(option)).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(verb: &str, item: &str, options: &str) -> Result<String, String> {
        let items = vec![item.to_owned()];
        let edit = match verb {
            "delete" => KargsEdit { delete: items, ..KargsEdit::default() },
            "replace" => KargsEdit { replace: items, ..KargsEdit::default() },
            "append" => KargsEdit { append: items, ..KargsEdit::default() },
            _ => KargsEdit { append_if_missing: items, ..KargsEdit::default() },
        };
        let options: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
        edit.apply(&options).map(|options| options.join(" ")).map_err(|refusal| refusal.what)
    }

    #[test]
    fn additions_go_to_the_end() {
        assert_eq!(edit("append", "a=2", "a=1 b"), Ok("a=1 b a=2".into()));
        assert_eq!(edit("append", "b", "a=1 b"), Ok("a=1 b b".into()));
        assert_eq!(edit("append-if-missing", "b", "a=1 b"), Ok("a=1 b".into()));
        assert_eq!(edit("append-if-missing", "a=2", "a=1 b"), Ok("a=1 b a=2".into()));
        for bad in ["", "a b", "layers.generation=3", "layers.generation", "a=\"b"] {
            assert!(edit("append", bad, "").is_err(), "{bad:?}");
            assert!(edit("append-if-missing", bad, "").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_deletion_names_one_argument() {
        assert_eq!(edit("delete", "a=1", "a=1 a=2 b"), Ok("a=2 b".into()));
        assert_eq!(edit("delete", "b", "a=1 b"), Ok("a=1".into()));
        assert_eq!(edit("delete", "a", "a=1 b"), Ok("b".into()));
        assert_eq!(edit("delete", "a", "a=1 a b"), Ok("a=1 b".into()));
        assert_eq!(edit("delete", "no-hlt", "no_hlt"), Ok(String::new()));
        for (item, options) in [("a", "a=1 a=2"), ("a=3", "a=1"), ("c", "a=1"), ("a", "")] {
            assert!(edit("delete", item, options).is_err(), "{item} of {options}");
        }
    }

    #[test]
    fn a_replacement_names_one_argument_and_keeps_its_place() {
        assert_eq!(edit("replace", "a=3", "a=1 b"), Ok("a=3 b".into()));
        assert_eq!(edit("replace", "a", "a=1 b"), Ok("a b".into()));
        assert_eq!(edit("replace", "b=2", "a=1 b"), Ok("a=1 b=2".into()));
        assert_eq!(edit("replace", "a=2=3", "a=1 a=2"), Ok("a=1 a=3".into()));
        let (old, new) = ("root=UUID=1", "root=LABEL=x");
        assert_eq!(edit("replace", new, old), Ok(new.into()));
        assert_eq!(edit("replace", "root=UUID=1=LABEL=x", old), Ok(new.into()));
        for (item, options) in
            [("a=3", "a=1 a=2"), ("c=1", "a=1"), ("a=3=\"x", "a=1"), ("a=3=4", "a=1")]
        {
            assert!(edit("replace", item, options).is_err(), "{item} of {options}");
        }
    }

    #[test]
    fn deletions_come_before_additions() {
        let edit = KargsEdit {
            delete: vec!["a=1".into()],
            append_if_missing: vec!["a=1".into()],
            ..KargsEdit::default()
        };
        assert_eq!(edit.apply(&["a=1".into(), "b".into()]).unwrap(), ["b", "a=1"]);
    }
}
