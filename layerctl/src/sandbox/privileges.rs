//! What programs in a sandbox may do: what maintainer scripts of packages need, and no more.

use caps::{CapSet, Capability, errors::CapsError};
use rustix::io;

/// The capabilities that a program of root's keeps.
const KEPT: [Capability; 9] = [
    // Packages give their files owners, modes and access that are not root's …
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    // … and capabilities of their own.
    Capability::CAP_SETFCAP,
    // start-stop-daemon, su and runuser, and the package manager's own helpers that give up root.
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    // dpkg and rpm enter a root for scripts, which is this one.
    Capability::CAP_SYS_CHROOT,
];

/// Cuts what this process and those that it starts may get; the process itself keeps what it has until it executes.
pub(super) fn drop() -> Result<(), CapsError> {
    for capability in caps::read(None, CapSet::Bounding)? {
        if !KEPT.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)
}

/// No program that is started gains anything by a setuid bit or by capabilities of its file.
pub(super) fn gain_none() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)
}
