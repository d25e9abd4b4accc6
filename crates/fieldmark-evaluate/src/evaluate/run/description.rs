//! `run.json`: what decides the rows of a run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Shard;
use crate::{
    dataset::{Dataset, Picture},
    evaluate::{Evaluator, Record},
};
use fieldmark_explain::run::{difference, run_name};
use fieldmark_model::{
    digest::{Hasher, hexadecimal},
    error::{Error, Result},
    files::{escaped, read_bounded, unescaped},
    folder::Skipped,
};

/// A run's description takes less.
const LARGEST: u64 = 64 << 20;

/// What decides the rows of a run: `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// fieldmark's version.
    pub fieldmark: String,
    /// The hash of the checkpoint's files, where the caller knows it: see
    /// [`hashes`](fieldmark_explain::run::hashes::of_checkpoint).
    pub model_sha256: Option<String>,
    /// The data set as it was named.
    #[serde(flatten)]
    dataset: DatasetPath,
    /// The hash of all its questions.
    pub questions_sha256: String,
    /// How many pictures there are, in all parts together.
    pub pictures: usize,
    /// The part; none of a whole run.
    pub shard: Option<Shard>,
    /// What the data set's folders hold beside pictures.
    #[serde(default, skip_serializing_if = "Skipped::is_empty")]
    pub skipped: Skipped,
    /// What was passed over in the data set's files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What is measured, and under which settings.
    #[serde(flatten)]
    pub record: Record,
}

/// A data set in JSON: `dataset`, where what is not UTF-8 of its path is U+FFFD, and the escaped form of such a path,
/// `dataset_bytes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct DatasetPath {
    dataset: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset_bytes: Option<String>,
}

impl From<&Path> for DatasetPath {
    fn from(path: &Path) -> Self {
        Self { dataset: path.to_string_lossy().into_owned(), dataset_bytes: escaped(path) }
    }
}

impl Description {
    /// A run over the first pictures of a data set, whole and of a checkpoint whose hash is not known. All its questions
    /// are read.
    ///
    /// # Errors
    /// If the data set cannot be read.
    pub fn new(evaluator: &Evaluator, dataset: &Dataset, pictures: usize) -> Result<Self> {
        Ok(Self {
            fieldmark: env!("CARGO_PKG_VERSION").to_owned(),
            model_sha256: None,
            dataset: dataset.path().into(),
            questions_sha256: hash_of_questions(dataset.pictures()?.take(pictures))?,
            pictures,
            shard: None,
            skipped: dataset.skipped()?,
            warnings: dataset.warnings().iter().map(ToString::to_string).collect(),
            record: evaluator.record(),
        })
    }

    /// The same of a checkpoint whose files have this hash.
    #[must_use]
    pub fn model_sha256(mut self, hash: Option<String>) -> Self {
        self.model_sha256 = hash;
        self
    }

    /// The same of one part of the pictures.
    #[must_use]
    pub fn shard(mut self, shard: Option<Shard>) -> Self {
        self.shard = shard;
        self
    }

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("run.json");
        let bytes = read_bounded(&path, LARGEST)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let reason = format!("expected the description of an evaluation, found another text: {error}");
            Error::Run { path, reason }
        })
    }

    /// The data set as it was named.
    pub fn dataset(&self) -> PathBuf {
        let DatasetPath { dataset, dataset_bytes } = &self.dataset;
        dataset_bytes.as_ref().map_or_else(|| PathBuf::from(dataset), |bytes| unescaped(bytes))
    }

    /// Whether a picture belongs to the run or the part.
    pub fn has(&self, picture: usize) -> bool {
        picture < self.pictures && self.shard.is_none_or(|shard| shard.has(picture))
    }

    pub(super) fn own_pictures(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.pictures).filter(|picture| self.has(*picture))
    }

    /// How many pictures belong to the run or the part.
    pub fn size(&self) -> usize {
        self.own_pictures().count()
    }

    /// The name of the run in its journal, which its parts share.
    pub(super) fn run_name(&self) -> Result<String> {
        let whole = Self { shard: None, ..self.deciding() };
        Ok(run_name(&whole.json()?.to_string()))
    }

    /// Without what decides no row.
    fn deciding(&self) -> Self {
        Self { skipped: Skipped::default(), warnings: Vec::new(), ..self.clone() }
    }

    fn json(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::Run { path: self.dataset(), reason: error.to_string() })
    }

    /// Refuses another run: `named` is what stands in front of the message, `with` the other run's name in it.
    pub(super) fn check_same(&self, other: &Self, named: &Path, with: &str) -> Result<()> {
        match difference(&self.deciding().json()?, &other.deciding().json()?) {
            Some((name, one, other)) => {
                let reason = format!("{name}: this run has {one}, {with} {other}");
                Err(Error::Run { path: named.into(), reason })
            }
            None => Ok(()),
        }
    }
}

/// The SHA-256 of all that a data set asks: of every picture's name and questions, in their order.
///
/// # Errors
/// If the data set cannot be read.
pub fn hash_of_questions(pictures: impl Iterator<Item = Result<Picture>>) -> Result<String> {
    let mut hash = Hasher::new();
    for picture in pictures {
        let Picture { name, questions, .. } = picture?;
        hash.update(format!("{name:?} {questions:?}\n").as_bytes());
    }
    Ok(hexadecimal(&hash.finish()))
}
