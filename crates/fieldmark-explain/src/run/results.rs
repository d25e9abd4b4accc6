//! `results.jsonl`: the lines of a batch's journal, each written when a photo's files are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fieldmark_model::{
    error::{Error, Result},
    geometry::Size,
};
use serde::{Deserialize, Serialize};

use super::{Content, Identity, Input, Journal, Reading, Waiting};
use crate::{
    page::{Shot, Tile},
    refine::Refinement,
    report::{Compared, Comparison, Image, MapUnit, Score},
    verdict::Verdict,
};

/// A line, as it is read.
#[derive(Deserialize)]
struct Read {
    input: Input,
    result: Comparison,
}

/// The part of a line that says which photo it is about.
#[derive(Deserialize)]
struct Head {
    input: Input,
}

/// What is kept of a line in memory: what pages, counts and pictures are made of.
#[derive(Debug)]
pub struct Entry {
    /// The photo.
    pub input: Input,
    /// What it gave.
    pub result: Answer,
}

/// The part of a [`Comparison`] that is kept: neither its regions nor its ranking, which are long.
#[derive(Debug)]
pub struct Answer {
    size: Size,
    covers: [f64; 4],
    unit: MapUnit,
    is_guided: bool,
    /// Each prompt.
    pub prompts: Vec<PromptAnswer>,
    files: BTreeMap<String, String>,
}

/// The part of a prompt's record that is kept.
#[derive(Debug)]
pub struct PromptAnswer {
    /// What the model says of it.
    pub score: Score,
    /// Whether the concept is in the photo.
    pub verdict: Verdict,
    files: BTreeMap<String, String>,
}

impl From<Comparison> for Answer {
    fn from(record: Comparison) -> Self {
        let [width, height] = record.image_size;
        let prompt = |prompt: Compared| PromptAnswer {
            score: prompt.score,
            verdict: prompt.evidence.verdict,
            files: texts(prompt.files),
        };
        Self {
            size: Size::new(width, height),
            covers: record.setup.covers,
            unit: record.setup.unit,
            is_guided: record.setup.refined.contains(&Refinement::Guided),
            prompts: record.prompts.into_iter().map(prompt).collect(),
            files: texts(record.files),
        }
    }
}

/// Files inside the run's folder, whose names are always text.
fn texts(files: BTreeMap<String, PathBuf>) -> BTreeMap<String, String> {
    files.into_iter().map(|(kind, path)| (kind, path.to_string_lossy().into_owned())).collect()
}

impl Entry {
    fn read(line: &str) -> Option<Self> {
        let Read { input, result } = serde_json::from_str(line).ok()?;
        Some(Self { input, result: result.into() })
    }

    /// The files that were written for the photo, relative to the run's folder.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        let of_prompts = self.result.prompts.iter().flat_map(|prompt| prompt.files.values());
        self.result.files.values().chain(of_prompts)
    }

    /// The photo as far as its pictures are drawn from its maps; none if it has no maps.
    pub fn waiting(&self) -> Option<Waiting> {
        let Answer { size, covers, unit, is_guided, .. } = self.result;
        let name =
            |prompt: &PromptAnswer| Some(prompt.files.get("map")?.strip_suffix(".map.npy")?.to_owned());
        Some(Waiting {
            image: self.input.image.path(),
            size,
            names: self.result.prompts.iter().map(name).collect::<Option<_>>()?,
            covers,
            is_guided,
            unit,
            identity: Identity::Hash(self.input.sha256.clone()),
        })
    }

    /// The photo on the page of all results.
    pub fn shot(&self) -> Shot {
        let tile = |found: &PromptAnswer| {
            let mut files = found.files.clone();
            Tile {
                prompt: found.score.prompt.clone(),
                similarity: found.score.similarity,
                probability: found.score.probability,
                verdict: found.verdict,
                thumbnail: files.remove("thumbnail").unwrap_or_default(),
                files,
            }
        };
        Shot {
            image: self.input.image.shown().to_owned(),
            report: self.result.files.get("report").cloned(),
            tiles: self.result.prompts.iter().map(tile).collect(),
        }
    }
}

/// The journal of a batch, by the photos' names.
pub struct Results(Journal<Image>);

impl Results {
    /// Begins, in place of another's.
    ///
    /// # Errors
    /// As [`Journal::begin`].
    pub fn begin(path: &Path, run: &str) -> Result<Self> {
        Ok(Self(Journal::begin(path, run)?))
    }

    /// Goes on with what is there.
    ///
    /// # Errors
    /// As [`Journal::resume`].
    pub fn resume(path: &Path, reading: Reading) -> Result<Self> {
        let photo = |line: &str| Some(Content::Done(serde_json::from_str::<Head>(line).ok()?.input.image));
        Ok(Self(Journal::resume(path, reading, photo)?))
    }

    /// The lines that are there, but do not count.
    pub fn left_out(&self) -> Vec<String> {
        self.0.left_out()
    }

    /// Whether no photo is done yet.
    pub fn is_empty(path: &Path) -> bool {
        Journal::<Image>::is_empty(path)
    }

    /// What is known of a photo, if it is the same file still and its results are there, under the names that they
    /// would get now: a photo of the same name that came later may have taken them. Files of the kinds in `later` need
    /// not be there: they are drawn at the end.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub fn known(
        &self,
        input: &Input,
        folder: &Path,
        thumbnails: &[String],
        later: &[&str],
    ) -> Result<Option<Entry>> {
        let Some(line) = self.0.line(&input.image)? else { return Ok(None) };
        let Some(entry) = Entry::read(&line) else { return Ok(None) };
        let named = entry.result.prompts.iter().map(|prompt| prompt.files.get("thumbnail"));
        let is_named = named.eq(thumbnails.iter().map(Some));
        let of_prompts = entry.result.prompts.iter().flat_map(|prompt| &prompt.files);
        let mut needed = entry.result.files.iter().chain(of_prompts);
        let is_there = |kind: &str, file: &str| later.contains(&kind) || folder.join(file).is_file();
        let is_whole = needed.all(|(kind, file)| is_there(kind, file));
        Ok((entry.input == *input && is_named && is_whole).then_some(entry))
    }

    /// Adds a photo whose files are written.
    ///
    /// # Errors
    /// As [`Journal::add`].
    pub fn add(&mut self, input: &Input, result: &Comparison) -> Result<Entry> {
        #[derive(Serialize)]
        struct Line<'a> {
            input: &'a Input,
            result: &'a Comparison,
        }
        let unwritable =
            |error: serde_json::Error| Error::Run { path: input.image.path(), reason: error.to_string() };
        let line = serde_json::to_string(&Line { input, result }).map_err(unwritable)?;
        self.0.add(input.image.clone(), &line)?;
        // Read back, since the last digit of a number may change on the way: a resumed run gives the same pages.
        let Read { result, .. } = serde_json::from_str(&line).map_err(unwritable)?;
        Ok(Entry { input: input.clone(), result: result.into() })
    }

    /// Puts the lines of these photos into their order, and drops all others.
    ///
    /// # Errors
    /// As [`Journal::finish`].
    pub fn finish(&self, entries: &[Entry]) -> Result<()> {
        self.0.finish(entries.iter().map(|entry| &entry.input.image))
    }
}
