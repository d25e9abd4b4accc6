//! Seeded mutations of everything that is read from outside. No mutant may panic, hang or take memory without bound; each
//! is either read or refused with one line.
//!
//! The usual number of rounds takes seconds. `FIELDMARK_ATTACK_ROUNDS` multiplies it, for long runs.

mod checkpoints;
#[cfg(feature = "hub")]
mod hub;
mod inputs;
#[cfg(feature = "cli")]
mod journals;
mod json;
mod memory;
mod photos;
#[cfg(feature = "cli")]
mod rows;
mod tokenizers;

/// By how much the usual number of rounds is multiplied.
pub(crate) fn rounds(usual: usize) -> usize {
    let times = std::env::var("FIELDMARK_ATTACK_ROUNDS").ok().and_then(|times| times.parse().ok());
    usual * times.unwrap_or(1)
}
