//! EVALUATE: how well do maps find what is known to be there? A data set's pictures become answers, answers rows of a
//! file, and these a summary.
//!
//! Every question is asked under every setting: for the plain map (strength 0) and for the contrasted ones, so that the
//! difference can be taken pair by pair. Where a question has no rivals all are the same map. Maps are measured at the
//! photo's size, against a mask of the photo's pixels. The caller walks the data set, so that it can stop and go on.

mod answer;
mod columns;
mod curves;
mod evaluator;
pub mod faithfulness;
mod grid;
mod markdown;
mod marks;
mod metrics;
mod options;
mod plan;
pub mod plots;
mod row;
mod rows_file;
pub mod run;
pub mod sanity;
mod summary;
mod tally;

pub use answer::{Answer, Case, Outcome};
pub use curves::{CURVES, Curve, CurveKind};
pub use evaluator::{Evaluator, Measured};
pub use faithfulness::Faithfulness;
pub use grid::pairs;
pub use markdown::p_value;
pub use marks::Tolerance;
pub use metrics::{Better, Group, Metric, Needs};
pub use options::Options;
pub use plan::{Plan, Record, RivalsPlan};
pub use row::{Row, Setting, Sides};
pub use rows_file::{METADATA, RowsFile, RowsWriter};
pub use sanity::Sanity;
pub use summary::{Compared, ComparedCurve, Counts, Estimate, Failure, Resampling, SettingSummary, Summary};
