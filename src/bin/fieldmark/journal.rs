//! `results.jsonl`: a line for every photo that is done, written when its files are. A run that was interrupted at
//! any moment can go on from it.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use fieldmark::{
    files::{read_bounded, write_atomically},
    page::{Shot, Tile},
    report::Comparison,
    verdict::Verdict,
};
use serde::{Deserialize, Serialize};

use crate::manifest::Input;

/// More than any run writes; beyond it a file is not ours.
const LARGEST: u64 = 8 << 30;

/// What is read back of a line.
#[derive(Debug, Deserialize)]
pub struct Entry {
    pub input: Input,
    pub result: Answer,
}

/// The part of a [`Comparison`] that pages and counts are made of.
#[derive(Debug, Deserialize)]
pub struct Answer {
    pub prompts: Vec<PromptAnswer>,
    files: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub struct PromptAnswer {
    pub prompt: String,
    similarity: f64,
    probability: f64,
    pub evidence: Evidence,
    files: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub struct Evidence {
    pub verdict: Verdict,
}

impl Entry {
    /// The files that were written for the photo, relative to the run's folder.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        let of_prompts = self.result.prompts.iter().flat_map(|prompt| prompt.files.values());
        self.result.files.values().chain(of_prompts)
    }

    /// The photo on the page of all results.
    pub fn shot(&self) -> Shot {
        let tile = |found: &PromptAnswer| {
            let mut files = found.files.clone();
            Tile {
                prompt: found.prompt.clone(),
                similarity: found.similarity,
                probability: found.probability,
                verdict: found.evidence.verdict,
                thumbnail: files.remove("thumbnail").unwrap_or_default(),
                files,
            }
        };
        Shot {
            image: self.input.image.clone(),
            report: self.result.files.get("report").cloned(),
            tiles: self.result.prompts.iter().map(tile).collect(),
        }
    }
}

/// The journal of a run: the lines of this one and of those that it goes on from.
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: HashMap<String, String>,
}

impl Journal {
    /// Begins a journal, in place of another.
    pub fn begin(path: &Path) -> Result<Self> {
        Self::with(path, HashMap::new())
    }

    /// Goes on with a journal, if there is one. A line that was not written to its end is dropped.
    pub fn resume(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Self::begin(path);
        }
        let text = String::from_utf8_lossy(&read_bounded(path, LARGEST)?).into_owned();
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let known = whole.filter_map(|line| {
            let entry: Entry = serde_json::from_str(line).ok()?;
            Some((entry.input.image, line.to_owned()))
        });
        Self::with(path, known.collect())
    }

    fn with(path: &Path, lines: HashMap<String, String>) -> Result<Self> {
        write_atomically(path, |file| lines.values().try_for_each(|line| writeln!(file, "{line}")))?;
        let file = OpenOptions::new().append(true).open(path);
        let file = file.with_context(|| format!("{}: cannot be written", path.display()))?;
        Ok(Self { path: path.into(), file, lines })
    }

    /// What is known of a photo, if it is the same file still and its results are there, under the names that they
    /// would get now: a photo of the same name that came later may have taken them.
    pub fn known(&self, input: &Input, folder: &Path, thumbnails: &[String]) -> Option<Entry> {
        let entry: Entry = serde_json::from_str(self.lines.get(&input.image)?).ok()?;
        let named = entry.result.prompts.iter().map(|prompt| prompt.files.get("thumbnail"));
        let is_named = named.eq(thumbnails.iter().map(Some));
        let is_whole = entry.files().all(|file| folder.join(file).is_file());
        (entry.input == *input && is_named && is_whole).then_some(entry)
    }

    /// Whether no photo is done yet.
    pub fn is_empty(path: &Path) -> bool {
        std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
    }

    /// Adds a photo whose files are written.
    pub fn add(&mut self, input: &Input, result: &Comparison) -> Result<Entry> {
        #[derive(Serialize)]
        struct Line<'a> {
            input: &'a Input,
            result: &'a Comparison,
        }
        let line = serde_json::to_string(&Line { input, result })?;
        // One write: a line is there or it is not.
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.with_context(|| format!("{}: cannot be written", self.path.display()))?;
        let entry = serde_json::from_str(&line)?;
        self.lines.insert(input.image.clone(), line);
        Ok(entry)
    }

    /// Puts the lines of these photos into their order, and drops all others.
    pub fn finish(self, entries: &[Entry]) -> Result<()> {
        let lines = entries.iter().filter_map(|entry| self.lines.get(&entry.input.image));
        let mut lines = lines.cloned();
        Ok(write_atomically(&self.path, |file| lines.try_for_each(|line| writeln!(file, "{line}")))?)
    }
}
