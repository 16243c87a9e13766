//! A file of signatures: one after the other, minisign's own program reads the first.

use layers::signature::{self, SIGNATURES_MAX};

/// Puts a signature among others over the same text: in the place of the one of its key, else after them. `None` where there
/// would be more than anyone reads.
pub(crate) fn with(old: Option<&str>, new: &str) -> Option<String> {
    let key = |block: &str| Some(signature::parse(block).ok()?.first()?.key);
    let mine = key(new);
    let new = new.trim_end().to_owned();
    let mut blocks: Vec<String> = Vec::new();
    let mut placed = false;
    for block in old.map(signature::blocks).unwrap_or_default() {
        let own = key(&block).is_none() || key(&block) == mine;
        if !own {
            blocks.push(block);
        } else if key(&block) == mine && !placed {
            blocks.push(new.clone());
            placed = true;
        }
    }
    if !placed {
        blocks.push(new);
    }
    let text = blocks.iter().map(|block| format!("{block}\n")).collect();
    (blocks.len() <= SIGNATURES_MAX).then_some(text)
}
