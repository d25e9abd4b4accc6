//! `run.json` of a batch: all that is needed to make it again, and what it was made from.

use std::{io::Write, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Described, Failed, Input, Recipe, RunScale, described, description::LARGEST, difference, run_name,
};
use crate::report::SCHEMA;
use fieldmark_model::{
    error::{Error, Result},
    files::{read_bounded, write_atomically},
    folder::Skipped,
    model::Model,
};

/// What a run does, and what it did.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// fieldmark's version.
    pub fieldmark: String,
    /// The hash of the checkpoint's files; none of the miniature, which is a part of the program.
    pub model_sha256: Option<String>,
    /// What was asked.
    pub recipe: Recipe,
    /// The photos that were done, in their order.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// The photos that could not be done.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// What the folders of the run hold beside photos; absent if that is nothing.
    #[serde(default, skip_serializing_if = "Skipped::is_empty")]
    pub skipped: Skipped,
    /// The files that were written, relative to the manifest's folder.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// The scale of all pictures, if they share that of the run and were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<RunScale>,
    /// The version of this form and of the records: see [`SCHEMA`]; 0 in files from before there was one.
    #[serde(default)]
    pub schema: u32,
    /// The commit of the checkpoint's repository in the Hub.
    #[serde(default)]
    pub model_revision: Option<String>,
}

impl Manifest {
    /// A run of this recipe that has done nothing so far.
    pub fn new(recipe: Recipe, model: &Model, model_sha256: Option<String>) -> Self {
        let fieldmark = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            fieldmark,
            model_sha256,
            recipe,
            inputs: Vec::new(),
            failed: Vec::new(),
            skipped: Skipped::default(),
            outputs: Vec::new(),
            scale: None,
            schema: SCHEMA,
            model_revision: model.revision().map(str::to_owned),
        }
    }

    /// Reads the manifest of a run.
    ///
    /// # Errors
    /// If the file cannot be read or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, LARGEST)?;
        let other = |error: serde_json::Error| format!("is not a run's manifest: {error}");
        serde_json::from_slice(&bytes).map_err(|error| Error::Run { path: path.into(), reason: other(error) })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Write`] if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            file.write_all(b"\n")
        })
    }

    /// All that decides the results.
    fn known(&self) -> Result<Value> {
        let unwritable =
            |error: serde_json::Error| Error::Run { path: "run.json".into(), reason: error.to_string() };
        let mut fields = serde_json::to_value(&self.recipe).map_err(unwritable)?;
        fields["model_sha256"] = self.model_sha256.clone().into();
        fields["fieldmark"] = self.fieldmark.clone().into();
        Ok(fields)
    }

    /// The name of the run in its journal: the same for the same settings, checkpoint and version, whichever photos are
    /// asked about.
    pub(super) fn run_name(&self) -> Result<String> {
        let mut known = self.known()?;
        known["images"].take();
        known["images_bytes"].take();
        Ok(run_name(&known.to_string()))
    }

    /// The description of the run to resume.
    pub(super) fn described(path: &Path) -> Result<Described<Self>> {
        described(path, ("questions_sha256", "a batch", "an evaluation"))
    }

    /// Whether results of the run that `path` describes may stand beside this one's: whether it is the same
    /// run, of the same program and checkpoint.
    pub(super) fn check_continues(&self, old: &Self, path: &Path) -> Result<()> {
        match difference(&self.known()?, &old.known()?) {
            Some((name, new, old)) => {
                let reason = format!("{name}: this run has {new}, the one to resume {old}");
                Err(Error::Run { path: path.into(), reason })
            }
            None => Ok(()),
        }
    }
}
