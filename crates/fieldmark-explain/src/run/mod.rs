//! Many photos: what a run does with each is [`Work`], and a [`Runner`] does it, several photos at once, within a bound of
//! memory, and hands on what comes of them in their order.
//!
//! Nothing here prints, exits or waits for a signal: progress is [events](fieldmark_model::progress), what is wrong with a photo is
//! in its [`Outcome`], and whoever wants the run to end calls [`Cancel::cancel`].

mod batches;
mod cancel;
mod clock;
pub mod hashes;
mod journal;
mod photos;
mod runner;
mod seal;
mod shares;
mod work;

pub use batches::AT_ONCE;
pub use cancel::{Cancel, Ended};
pub use journal::{Content, Journal, Reading};
pub use photos::{MEMORY, Photos, memory};
pub use runner::{Outcome, Runner};
pub use seal::run_name;
pub use work::{EachAlone, Open, Opening, Work, unless_it_panics};
