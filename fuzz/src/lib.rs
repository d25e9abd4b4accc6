//! What each target of fuzz_targets/ does with its input: it reads it as the program would, and holds the answer to what
//! must be true of it. An input is a value or an error of one line; a panic, a hang or unbounded memory is a finding.

pub mod checkpoint;
pub mod data_set;
pub mod hub;
pub mod pickle_program;
pub mod photo;
pub mod resize;
pub mod run;

pub mod text;

mod scratch;

pub use scratch::Scratch;

use fieldmark_model::Error;

/// Errors are printed as one line, and not without end.
///
/// # Panics
/// If this one is not.
pub fn check_error(error: &Error) {
    let message = error.to_string();
    assert!(!message.contains('\n'), "an error of several lines: {message}");
    assert!(message.len() < 20_000, "an error of {} bytes", message.len());
}
