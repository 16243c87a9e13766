//! Boots that ask for signatures: real images, real keys, and a host that mounts nothing but writes down what it would.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test: makes a store in a temporary directory and panics where something is wrong"
)]

#[path = "verified/flips.rs"]
mod flips;
#[path = "verified/matrix.rs"]
mod matrix;
#[path = "verified/store.rs"]
mod store;
