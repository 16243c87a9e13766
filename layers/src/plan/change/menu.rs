//! What a boot loader's menu says of a generation, and with which arguments it is started.

use super::entries::After;
use crate::attempts::Attempts;
use crate::boot_partition::BootPartition;
use crate::entry::{Entry, EntryName, Rank, printable};
use crate::generation::Generation;
use crate::kernel::{Kernel, key_and_value};
use crate::layout::BootDir;

/// Letters of a title: a menu on a small screen has no more.
const TITLE_MAX: usize = 76;

/// Seconds until a kernel that panicked restarts the machine, so that the next attempt is made.
pub const PANIC: &str = "panic=10";

/// Seconds until a hardware watchdog resets a machine whose system hangs; long enough for a slow one to start systemd.
pub const WATCHDOG: &str = "layers.watchdog=120";

/// An entry that is to be there.
pub(super) struct Wanted {
    /// Its name, without counters.
    pub(super) name: EntryName,
    /// What it holds.
    pub(super) text: String,
    /// Attempts that a boot loader shall count.
    pub(super) tries: Option<Attempts>,
    /// Whether they begin now.
    pub(super) renewed: bool,
}

/// The entry of a generation, or with `default` the one of whatever is the default.
pub(super) fn wanted_entry(
    partition: &BootPartition,
    after: &After<'_>,
    generation: &Generation,
    kernel: &Kernel,
    default: bool,
) -> Wanted {
    let id = generation.id;
    let base = format!("{} {}", generation.base.name, generation.base.version);
    let [(linux, _), (initrd, _)] = kernel.files();
    let entry = Entry {
        title: match default {
            true => printable(&base, TITLE_MAX),
            false => {
                printable(&format!("{base}, generation {id}: {}", generation.reason), TITLE_MAX)
            }
        },
        version: id.to_string(),
        rank: match default {
            true => Rank::Default,
            false if after.fallback() == Some(id) => Rank::Good,
            false => Rank::Other,
        },
        machine_id: partition.machine_id(),
        options: options(partition, generation, default),
        initrd: BootDir::inside(&initrd),
        linux: BootDir::inside(&linux),
    };
    let text = entry.to_string();
    let tries = after.tries(id);
    let renewed = after.is_renewed(id);
    Wanted { name: EntryName::of(default, id, &text, None), text, tries, renewed }
}

/// The kernel's arguments: where the state is, unless the generation says that itself; what a panic and a hang lead to,
/// likewise; the generation's own; and which generation, unless `boot/default` tells.
fn options(partition: &BootPartition, generation: &Generation, default: bool) -> Vec<String> {
    let own = &generation.options;
    let given =
        |keys: &[&str]| own.iter().any(|option| keys.contains(&key_and_value(option).0.as_str()));
    let mut options = Vec::new();
    if !given(&["layers.state", "root"]) {
        options.extend(partition.state().map(|state| format!("layers.state={state}")));
    }
    if !given(&["panic"]) {
        options.push(PANIC.to_owned());
    }
    // A base that marks its boots good has systemd, which takes the watchdog over from init.
    if generation.base.marks_good && !given(&["layers.watchdog"]) {
        options.push(WATCHDOG.to_owned());
    }
    options.extend(own.iter().cloned());
    if !default {
        options.push(format!("layers.generation={}", generation.id));
    }
    options
}
