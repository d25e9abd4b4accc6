//! Rows become means with intervals.
//!
//! Lines about one picture are not independent, so pictures are what is resampled, and every picture counts the
//! same: its value is the mean over its lines.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, Serializer};

use super::{Plan, RowsFile, Setting, Sides, tally::Tally};
use crate::{dataset::Picture, metric::Bootstrap};
use fieldmark_explain::{report::Origin, run::reason};
use fieldmark_model::{
    error::{Error, Result},
    files::serialize_path,
    folder::Skipped,
};

/// A run's result: what `evaluate --json` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Summary {
    /// The data set's file.
    #[serde(flatten, serialize_with = "dataset")]
    #[cfg_attr(feature = "schema", schemars(with = "DatasetFields"))]
    pub dataset: PathBuf,
    /// What was evaluated.
    #[serde(flatten)]
    pub plan: Plan,
    /// How the intervals were made.
    pub bootstrap: Resampling,
    /// What was measured.
    #[serde(flatten)]
    pub counts: Counts,
    /// What could not be measured; none of it is in any figure.
    pub failed: Vec<Failure>,
    /// What the folders that were searched for pictures hold beside them; empty of [`Summary::of`], which does not see
    /// the data set.
    #[serde(skip_serializing_if = "Skipped::is_empty")]
    pub skipped: Skipped,
    /// What was passed over in the data set's files; empty of [`Summary::of`], which does not see the data set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Over the present lines with rivals: how often the prompt is more similar to the picture than each of them.
    /// `null` without such lines.
    pub pair_accuracy: Option<Estimate>,
    /// One for every method, layer and strength.
    pub settings: Vec<SettingSummary>,
    /// The program and the checkpoint; empty of [`Summary::of`], which sees the rows alone.
    #[serde(flatten)]
    pub origin: Origin,
}

/// How intervals were made: percentiles of the means of resampled pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Resampling {
    /// How many times the pictures were drawn anew.
    pub rounds: usize,
    /// The share of those means inside an interval.
    pub coverage: f64,
    /// What the draws follow from.
    pub seed: u64,
}

/// How much was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Counts {
    /// Different pictures.
    pub images: usize,
    /// Lines of the data set.
    pub lines: usize,
    /// Lines whose concept is in the picture.
    pub present: usize,
    /// Lines whose concept is not.
    pub absent: usize,
    /// Present lines with rivals. In the others the contrasted map is the plain one.
    pub with_rivals: usize,
}

/// A picture that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The picture as the data set names it.
    pub image: String,
    /// The data set's lines that are lost with it.
    pub lines: Vec<usize>,
    /// Why.
    pub error: String,
}

impl Failure {
    /// Why a picture could not be measured.
    pub fn new(picture: &Picture, error: String) -> Self {
        let lines = picture.questions.iter().map(|question| question.line).collect();
        Self { image: picture.name.clone(), lines, error }
    }

    /// A picture with what is wrong with it; its file is named unless the error names it.
    pub(super) fn of(picture: &Picture, error: &Error) -> Self {
        Self::new(picture, reason(error, Some(&picture.path)))
    }
}

/// A mean over pictures, with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Plain and contrasted maps side by side, over the same lines.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Compared {
    /// The plain maps' mean, and the contrasted ones'.
    #[serde(flatten)]
    pub means: Sides<Estimate>,
    /// Contrasted minus plain, picture by picture: contrast makes a difference where the interval excludes 0.
    pub difference: Estimate,
    /// How likely as large a difference is by chance alone, by the sign-flip permutation test of the pictures'
    /// differences, two-sided; `null` where it cannot be computed.
    pub p_sign_flip: Option<f64>,
    /// The same, corrected for all settings of the run that the measure compares (Holm, 1979).
    pub p_holm: Option<f64>,
    /// The same as `p_sign_flip` by Wilcoxon's signed-rank test; `null` where no picture has a difference.
    pub p_wilcoxon: Option<f64>,
    /// How many pictures this is about.
    pub images: usize,
    /// How many lines.
    pub lines: usize,
}

/// A curve of plain and contrasted maps, over the same lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ComparedCurve {
    /// Where.
    pub at: Vec<f64>,
    /// The means there.
    #[serde(flatten)]
    pub means: Sides<Vec<Estimate>>,
}

/// What one setting gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SettingSummary {
    /// Which.
    #[serde(flatten)]
    pub setting: Setting,
    /// By metric; those that no line could be measured by are missing.
    pub metrics: BTreeMap<&'static str, Compared>,
    /// By curve; only where curves were measured.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub curves: BTreeMap<&'static str, ComparedCurve>,
    /// How many of the present lines the verdict called absent; `null` without such lines.
    pub present_called_absent: Option<Compared>,
    /// How many of the absent lines the verdict called absent; `null` without such lines.
    pub absent_called_absent: Option<Compared>,
}

/// What [`dataset`] writes.
#[cfg(feature = "schema")]
#[derive(Serialize, schemars::JsonSchema)]
struct DatasetFields {
    dataset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset_bytes: Option<String>,
}

/// The data set as `dataset`, and as `dataset_bytes` if its name is not UTF-8 ([`serialize_path`]).
fn dataset<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serialize_path("dataset", path, serializer)
}

impl Summary {
    /// Sums up a file of rows, column by column: what is in memory are the questions' pictures, and as many numbers of
    /// each picture as fit into some megabytes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn of(
        rows: &RowsFile,
        dataset: PathBuf,
        failed: Vec<Failure>,
        bootstrap: &Bootstrap,
    ) -> Result<Self> {
        let Bootstrap { rounds, coverage, seed } = *bootstrap;
        let tally = Tally::new(rows, bootstrap)?;
        Ok(Self {
            dataset,
            plan: rows.record().plan.clone(),
            bootstrap: Resampling { rounds, coverage, seed },
            counts: tally.counts(),
            failed,
            skipped: Skipped::default(),
            warnings: Vec::new(),
            pair_accuracy: tally.pair_accuracy(),
            settings: tally.settings()?,
            origin: Origin::default(),
        })
    }
}
