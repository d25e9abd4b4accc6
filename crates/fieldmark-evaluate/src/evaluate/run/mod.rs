//! The folder of an evaluation: `run.json`, which holds what decides its rows; the journal, with a line for every picture;
//! and the files that are made of the lines at the end.
//!
//! They are written in this order: a picture's line, in one write; when all are there the rows, what failed, the summary
//! and the plots, each file whole or not at all. So a run that is killed at any moment loses one picture's work, and the
//! files are the same regardless of how often the run was interrupted and how many machines shared it.

mod description;
mod evaluation;
mod measuring;
mod part;
mod shard;

pub use description::{Description, hash_of_questions};
pub use evaluation::Evaluation;
pub use shard::Shard;
