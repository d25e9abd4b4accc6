//! Many photos: what a run does with each is [`Work`], and a [`Runner`] does it, several photos at once, within a bound of
//! memory, and hands on what comes of them in their order.
//!
//! Nothing here prints, exits or handles signals: progress is [events](fieldmark_model::progress), what is wrong with a
//! photo is in its [`Outcome`], and a program that wants the run to end calls [`Cancel::cancel`]. Whoever prefers to pull
//! results runs it on a thread of its own and sends each outcome through a channel.
//!
//! # Example
//!
//! A folder of photos, with a journal from which an interrupted run goes on:
//!
//! ```
//! use fieldmark::{Explainer, Query, run::{Content, Journal, Localize, Photos, Reading, RunFolder, Runner, run_name}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let output = std::env::temp_dir().join(format!("fieldmark-run-{}", std::process::id()));
//! # let photos_folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/photos");
//! let explainer = Explainer::load("miniature")?;
//! let query = Query::new("red-winged blackbird shoulder").against(["yellow-winged blackbird shoulder"]);
//! let run = run_name(&format!("{} {query:?}", explainer.name())); // by all that decides a result
//!
//! let folder = RunFolder::claim(&output)?; // locked until it is dropped
//! let mut journal = Journal::resume(&folder.path().join("results.jsonl"), Reading::of(&run), Content::photo)?;
//! let mut photos = Photos::of([photos_folder]).files;
//! photos.retain(|photo| photo.as_ref().map_or(true, |photo| !journal.has(photo)));
//!
//! let work = Localize::new(&explainer, &query, |_photo, found| Ok(found.report));
//! let runner = Runner::new().together(explainer.photos_together(&query.settings)?);
//! runner.run(photos, &work, |outcome| -> Result<(), Box<dyn std::error::Error>> {
//!     match (outcome.input, outcome.result) {
//!         (Some(photo), Ok(mut report)) => {
//!             report.seconds = report.seconds.adding_up_to(outcome.seconds);
//!             journal.add(photo, &serde_json::to_string(&report)?)?;
//!         }
//!         (_, result) => eprintln!("{:?}", result.err()), // one photo: the others go on
//!     }
//!     Ok(())
//! })?;
//! # drop((journal, folder));
//! # assert!(std::fs::read_to_string(output.join("results.jsonl"))?.lines().count() > 5);
//! # std::fs::remove_dir_all(output)?;
//! # Ok(())
//! # }
//! ```

mod batch;
mod batch_work;
mod batches;
mod cancel;
mod clock;
mod description;
mod folder;
pub mod hashes;
mod journal;
mod later;
mod localize;
mod manifest;
mod photos;
mod recipe;
mod results;
mod runner;
mod save;
mod seal;
mod shares;
mod table;
mod unfinished;
mod work;

pub use batch::{Batch, BatchDone, BatchEvent, Start};
pub use batches::AT_ONCE;
pub use cancel::{Cancel, Ended};
pub use description::{Described, Failed, Input, described, difference, reason};
pub use folder::{NewFolders, RunFolder};
pub use journal::{Content, Journal, Reading};
pub use later::{Identity, Later, RunScale, Waiting};
pub use localize::Localize;
pub use manifest::Manifest;
pub use photos::{MEMORY, Photos, memory};
pub use recipe::Recipe;
pub use results::{Answer, Entry, PromptAnswer, Results};
pub use runner::{Outcome, Runner};
pub use save::{ComparisonFiles, Drawing, FileKind, MapFiles, PhotoNames, Style, save_text};
pub use seal::run_name;
pub use work::{EachAlone, Open, Opening, Work, unless_it_panics};
