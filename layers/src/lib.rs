//! What layerctl and its initrd share: words, plans, and the effects that carry them out.
//!
//! ```text
//! text → types      record id attempts layout manifest requirement os trigger index generation intent cmdline config policy size lowers
//!                   superblock report kernel entry signature trust
//! types → Plan      plan::{boot, change, collect}, linted by plan::check     (pure)
//! Plan → effects    exec, carried out by a host                              (host, store, sys)
//! ```
//!
//! No terminal, no environment, no exit: those are the programs'.

pub mod attempts;
pub mod boot_partition;
pub mod cmdline;
pub mod config;
pub mod entry;
pub mod etc;
pub mod exec;
pub mod generation;
pub mod grants;
pub mod host;
pub mod id;
pub mod index;
pub mod intent;
pub mod kernel;
pub mod layout;
pub mod links;
pub mod lowers;
pub mod machine_id;
pub mod manifest;
pub mod os;
pub mod overlap;
pub mod plan;
pub mod policy;
pub mod record;
pub mod report;
pub mod requirement;
pub mod reset;
pub mod scrutiny;
pub mod signature;
pub mod size;
pub mod store;
pub mod superblock;
pub mod sys;
pub mod trigger;
pub mod trust;
pub mod verity;
