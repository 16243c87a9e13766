//! Boots of the real Debian base with the project's initramfs, in QEMU.
//!
//! Most machines start a shell where systemd would be: what init does is done by then, in a fifth of the time.

// The attribute tells clippy that helpers are tests' code too.
#[cfg(test)]
mod accounts;
#[cfg(test)]
mod attempts;
#[cfg(test)]
mod boot_partition;
#[cfg(test)]
mod conflicts;
#[cfg(test)]
mod containers;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod firmware;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod hang;
#[cfg(test)]
mod images;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod secure_boot;
#[cfg(test)]
mod selection;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod state;
#[cfg(test)]
mod state_device;
#[cfg(test)]
mod survival;
#[cfg(test)]
mod systemd;
#[cfg(test)]
mod triggers;
#[cfg(test)]
mod verity;
#[cfg(test)]
mod writable_faults;
