//! What boots do to the state file system, as `plan::boot` orders it: uppers first, then what they lie over, then what ran.
#![expect(clippy::disallowed_methods, reason = "fills uppers as a running system does")]

use super::scene::Scene;
use layers::etc::Derive;
use layers::id::GenerationId;
use layers::layout::Layout;
use layers::plan::change::State;
use layers::plan::{Op, Upper};
use layers::policy::Dir;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::io;
use std::path::Path;

/// Makes each upper of the default generation, hides the stamp of /etc, and writes down what lies where.
pub(super) fn first(scene: &Scene, state: &State, layout: &Layout) -> Option<Vec<Op>> {
    let id = state.pointers.default?;
    let etc = layout.etc_upper(Some(id));
    let shared = [Dir::Var, Dir::Home].map(|dir| layout.shared_upper(dir));
    let like = Some(scene.etc("old"));
    let uppers = std::iter::once(&etc).chain(&shared);
    let mut ops: Vec<Op> =
        uppers.map(|dir| Op::MakeUpper { upper: Upper::below(dir), like: like.clone() }).collect();
    ops.push(Op::HideStamp { upper: etc.join("upper"), lowers: vec![scene.etc("new")] });
    ops.push(record(&etc, "first"));
    ops.extend(shared.iter().map(|dir| record(dir, "first")));
    ops.push(ran(layout, id));
    Some(ops)
}

/// Counts one attempt of the generation that boots off, and takes away what was to be tried once.
pub(super) fn claim(_: &Scene, state: &State, layout: &Layout) -> Option<Vec<Op>> {
    let id = state.pointers.next.or(state.pointers.default)?;
    let left = state.tries.get(&id)?.count_off()?;
    let mut ops = vec![Op::Overwrite { path: layout.tries_of(id), text: left.record() }];
    if state.pointers.next.is_some() {
        ops.push(Op::Remove { path: layout.next() });
    }
    Some(ops)
}

/// Makes the /etc of the default generation out of that of the one that ran last.
pub(super) fn clone_etc(scene: &Scene, state: &State, layout: &Layout) -> Option<Vec<Op>> {
    let (from, to) = (state.pointers.ran?, state.pointers.default?);
    Some(vec![derive(scene, layout, from, to), ran(layout, to)])
}

/// Brings the /etc of the generation that ran last in line with other images; the new one takes the old one's place.
pub(super) fn derive_in_place(scene: &Scene, state: &State, layout: &Layout) -> Option<Vec<Op>> {
    let id = state.pointers.ran?;
    Some(vec![derive(scene, layout, id, id)])
}

/// Carries out the request to empty /etc, and takes it back.
pub(super) fn wipe_etc(scene: &Scene, state: &State, layout: &Layout) -> Option<Vec<Op>> {
    let etc = layout.etc_upper(Some(state.pointers.ran?));
    Some(vec![
        Op::WipeUpper { dir: etc.clone(), keep: vec!["own.d/kept".to_owned()] },
        Op::HideStamp { upper: etc.join("upper"), lowers: vec![scene.etc("new")] },
        record(&etc, "wiped"),
        Op::Remove { path: layout.reset() },
    ])
}

/// Takes out of /var what the images own, and hides the stamp.
pub(super) fn drop_from_var(scene: &Scene, _: &State, layout: &Layout) -> Option<Vec<Op>> {
    let var = layout.shared_upper(Dir::Var);
    Some(vec![
        Op::DropOwned { dir: var.clone(), paths: vec!["lib/dpkg".to_owned()] },
        Op::HideStamp { upper: var.join("upper"), lowers: vec![scene.etc("new")] },
        record(&var, "dropped"),
    ])
}

/// Takes out of /home what hides what images had there, where none has anything any more.
pub(super) fn forget_in_home(scene: &Scene, _: &State, layout: &Layout) -> Option<Vec<Op>> {
    let home = layout.shared_upper(Dir::Home);
    let forget = Op::ForgetLowers { upper: home.join("upper"), lowers: vec![scene.etc("old")] };
    Some(vec![forget, record(&home, "bound")])
}

fn derive(scene: &Scene, layout: &Layout, from: GenerationId, to: GenerationId) -> Op {
    Op::DeriveUpper(Derive {
        from: layout.etc_upper(Some(from)),
        to: layout.etc_upper(Some(to)),
        old: Some(scene.etc("old")),
        new: scene.etc("new"),
        whole: true,
        users: Vec::new(),
        report: layout.etc_report(to),
        generation: to,
        source: Some(from),
        images: if from == to { "in line\n" } else { "cloned\n" }.to_owned(),
    })
}

fn record(dir: &Path, text: &str) -> Op {
    Op::WriteFile { path: Layout::lowers(dir), text: format!("{text}\n") }
}

fn ran(layout: &Layout, id: GenerationId) -> Op {
    Op::WriteFile { path: layout.ran(), text: id.record() }
}

/// What an administrator does in /etc: files of the images changed, files of their own.
pub(super) fn edit_etc(layout: &Layout) -> io::Result<()> {
    let upper = layout.etc_upper(Some(GenerationId::FIRST)).join("upper");
    fs::create_dir_all(upper.join("own.d"))?;
    fs::write(upper.join("hosts"), "mine\n")?;
    fs::write(upper.join("motd"), "old\n")?;
    fs::write(upper.join("passwd"), "root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\n")?;
    fs::write(upper.join("own.d/kept"), "kept\n")?;
    fs::write(upper.join("own.d/large"), "a line of text\n".repeat(5000))?;
    (0..20).try_for_each(|n| fs::write(upper.join(format!("own.d/{n}")), format!("{n}\n")))
}

/// A package database in /var, which the images own.
pub(super) fn fill_var(layout: &Layout) -> io::Result<()> {
    let dpkg = layout.shared_upper(Dir::Var).join("upper/lib/dpkg");
    fs::create_dir_all(&dpkg)?;
    fs::write(dpkg.join("status"), "Package: x\n")
}

/// A whiteout over a file of the images.
pub(super) fn hide_in_home(layout: &Layout) -> io::Result<()> {
    let path = layout.shared_upper(Dir::Home).join("upper/hosts");
    Ok(mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)?)
}
