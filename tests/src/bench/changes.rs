//! Installing, rolling back and removing a payload: the project's command beside those that people use today.
//!
//! ```text
//! random files ─→ tree, image, .deb, sysext, pacman package          [payload]
//! base.tar, base.squashfs ─→ one disk for each peer                  [ground]
//!     disk on a loop device ─────────────── peers in turns, N times → seconds
//!     disk on a device that logs writes ─── each peer once          → bytes, flushes
//! ```
//!
//! What a peer does is a shell script of its own beside this file; they all run as root with mounts that end with them.

mod cost;
mod ground;
mod payload;
mod peer;

use super::BenchError;
use super::figure::Figure;
use super::machines::Machines;
use crate::base::Tree;
use crate::files;
use crate::programs::Programs;
use crate::workspace::Workspace;
use cost::{Costs, Matrix, Traffic};
use ground::{Ground, Logged};
use payload::{PAYLOADS, Payload};
use peer::{PEERS, STEPS};

/// Measures every payload; the matrix of all figures goes to changes.md and changes.json in `target/bench`.
pub(super) fn changes(
    workspace: &Workspace,
    programs: &Programs,
    tree: &Tree,
    machines: &Machines,
    runs: usize,
) -> Result<Vec<Figure>, BenchError> {
    let ground = Ground::new(workspace, programs, tree, machines)?;
    for peer in &PEERS {
        eprintln!("xtask: filling the disk of {}", peer.name);
        ground.fill(peer)?;
    }
    let mut matrix = Matrix::default();
    for payload in PAYLOADS {
        payload.make(&ground)?;
        matrix.rows.push((payload, measure(&ground, payload, runs)?));
        matrix.write(&workspace.target().join("bench"))?;
        files::remove_tree(&ground.payload(payload))?;
    }
    ground.leave()?;
    Ok(matrix.figures())
}

/// Times every peer `runs` times in turns, then counts what each writes.
fn measure(ground: &Ground, payload: Payload, runs: usize) -> Result<Costs, BenchError> {
    let mut costs = Costs::default();
    let disks = PEERS.iter().map(|peer| ground.mount(peer)).collect::<Result<Vec<_>, _>>()?;
    for run in 1..=runs {
        eprintln!("xtask: run {run}, {payload}");
        payload.read(ground)?;
        for disk in &disks {
            for step in STEPS.iter().filter(|step| disk.peer.has(step.verb)) {
                let took = disk.time(step.verb, payload)?;
                if let Some(change) = step.change {
                    costs.time(disk.peer.name, change, took);
                }
            }
        }
    }
    disks.into_iter().try_for_each(|disk| disk.leave())?;
    for peer in &PEERS {
        eprintln!("xtask: what {} writes, {payload}", peer.name);
        let logged = Logged::start(ground, peer)?;
        for step in STEPS.iter().filter(|step| peer.has(step.verb)) {
            let (own, all) = logged.record(step.verb, payload)?;
            if let Some(change) = step.change {
                costs.traffic(peer.name, change, Traffic::of(&own, &all));
            }
        }
        logged.stop()?;
    }
    Ok(costs)
}
