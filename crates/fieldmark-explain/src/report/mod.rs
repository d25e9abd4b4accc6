//! REPORT: what was asked and found, as plain records for people and programs.
//!
//! The fields' names are a contract: other programs read the JSON. Fields may be added, none renamed. Coordinates
//! are pixels of the photo as displayed. Every record can be read back from its JSON.

mod comparison;
mod concepts;
mod localization;
mod origin;
mod paths;
mod score;
mod seconds;
mod setup;

pub use comparison::{Compared, Comparison};
pub use concepts::{BestUsed, ListUsed, RivalsUsed};
pub use localization::Localization;
pub use origin::{Origin, SCHEMA};
pub use paths::Image;
use paths::{files, image};
pub use score::{Evidence, Pair, Ranked, Reference, Score};
pub use seconds::{Drawn, Seconds};
pub use setup::{BestTile, MapUnit, Outliers, Setup, Tiling};
