//! A generation in the making.

use std::collections::BTreeMap;

use crate::generation::{Base, Generation, Layer};
use crate::id::{Name, SetName};
use crate::kernel::Kernel;
use crate::policy::Policy;

/// What a new generation is made of; the rest follows from the store.
pub(super) struct Draft {
    pub(super) options: Vec<String>,
    pub(super) base: Base,
    pub(super) kernel: Option<Kernel>,
    pub(super) layers: Vec<Layer>,
    pub(super) sets: BTreeMap<SetName, Vec<Name>>,
    pub(super) requests: Vec<String>,
    pub(super) writable: Policy,
}

impl Draft {
    /// All that a generation is made of.
    pub(super) fn of(generation: &Generation) -> Self {
        Self {
            options: generation.options.clone(),
            base: generation.base.clone(),
            kernel: generation.kernel.clone(),
            layers: generation.layers.clone(),
            sets: generation.sets.clone(),
            requests: generation.requests.clone(),
            writable: generation.writable.clone(),
        }
    }
}
