//! The folder of an evaluation that is under way, and the files that are made of its journal.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    Description,
    measuring::Measuring,
    part::{Part, by_index},
};
use crate::{
    dataset::{Dataset, Picture},
    evaluate::{Answer, Evaluator, Failure, Measured, RowsFile, RowsWriter, Summary, pairs, plots},
    metric::Bootstrap,
};
use fieldmark_explain::{
    report::Origin,
    run::{Content, Described, Journal, Outcome, Reading, RunFolder, Runner, described},
};
use fieldmark_model::{
    error::{Error, Result},
    files::write_atomically,
    progress::Warning,
};

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    picture: usize,
    #[serde(flatten)]
    result: Given,
}

/// What a picture gave.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Given {
    Answers(Vec<Answer>),
    Failed(Failure),
}

/// The part of a line that says which picture it is about.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) picture: usize,
    failed: Option<IgnoredAny>,
}

/// The folder of a run that is under way.
pub struct Evaluation {
    folder: RunFolder,
    description: Description,
    journal: Journal<usize>,
    /// What was wrong with the description of the run that this one goes on with.
    damaged: Option<String>,
}

impl Evaluation {
    /// Whether a folder has results of a run, whole or not.
    pub fn is_there(folder: &Path) -> bool {
        !Journal::<usize>::is_empty(&journal_path(folder))
    }

    /// Begins a run, in place of what is in the folder.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn begin(folder: RunFolder, description: Description) -> Result<Self> {
        // First the lines of another run go, then this one may call them its own.
        let journal = Journal::begin(&journal_path(folder.path()), &description.run_name()?)?;
        for name in [ROWS, "summary.json", "summary.md", "failures.jsonl"] {
            remove(&folder.path().join(name))?;
        }
        remove_plots(folder.path())?;
        Self { folder, description, journal, damaged: None }.described()
    }

    /// Goes on with the run in the folder, if there is one. Pictures that failed are tried again.
    ///
    /// # Errors
    /// If the folder has a run of other settings, or of another kind, or cannot be read and written.
    pub fn resume(folder: RunFolder, description: Description) -> Result<Self> {
        let path = folder.path().join("run.json");
        let (described, damaged) = match described(&path, ("recipe", "an evaluation", "a batch"))? {
            Described::Whole(old) => {
                description.check_same(&old, &path, "the one to resume")?;
                (true, None)
            }
            Described::Damaged(note) => (false, Some(note)),
            Described::Missing => (false, None),
        };
        let run = description.run_name()?;
        let reading = Reading { run: &run, described };
        let journal = Journal::resume(&journal_path(folder.path()), reading, |line| {
            let head = serde_json::from_str::<Head>(line).ok()?;
            Some(if head.failed.is_none() { Content::Done(head.picture) } else { Content::Again })
        })?;
        Self { folder, description, journal, damaged }.described()
    }

    /// What was damaged, and the lines of the journal that are there, but do not count.
    pub fn left_out(&self) -> Vec<String> {
        self.damaged.iter().cloned().chain(self.journal.left_out()).collect()
    }

    /// Joins the parts of a run in a folder of its own.
    ///
    /// # Errors
    /// If they are not all the parts of one run, each once and whole, or a folder cannot be read or written.
    pub fn merge(parts: &[PathBuf], folder: &Path) -> Result<Self> {
        let parts: Vec<Part> = parts.iter().map(|part| Part::open(part)).collect::<Result<_>>()?;
        let Some(first) = parts.first() else {
            let reason = "expected at least one directory, found none".to_owned();
            return Err(Error::Option { option: "parts", reason });
        };
        for part in &parts {
            first.check_belongs(part)?;
        }
        let whole = first.description.clone().shard(None);
        let by_index = by_index(&parts, first.shard()?.count())?;
        for part in &parts {
            part.check_whole()?;
            if folder.canonicalize().ok() == part.folder.canonicalize().ok() {
                let reason = "expected a directory beside the parts, found one of them".to_owned();
                return Err(Error::Run { path: folder.into(), reason });
            }
        }
        let mut merged = Self::begin(RunFolder::claim(folder)?, whole)?;
        for picture in 0..merged.description.pictures {
            let part = by_index[picture % by_index.len()];
            if let Some(line) = part.journal.line(&picture)? {
                merged.journal.add(picture, &line)?;
            }
        }
        Ok(merged)
    }

    fn described(self) -> Result<Self> {
        write_json(&self.path("run.json"), &self.description)?;
        Ok(self)
    }

    /// A place in the folder.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whether each picture of the whole run is still to be measured by this one.
    fn wanted(&self) -> Vec<bool> {
        let is_wanted = |picture| self.description.has(picture) && !self.journal.has(&picture);
        (0..self.description.pictures).map(is_wanted).collect()
    }

    /// How many pictures are still to be measured.
    pub fn missing(&self) -> usize {
        self.description.own_pictures().filter(|picture| !self.journal.has(picture)).count()
    }

    /// Measures the pictures that are not there yet, and keeps what each gives. One that cannot be measured does not stop the
    /// others; where the data set cannot be read any further, the run ends after the pictures before it. `hear` gets each
    /// picture with its warnings or with what is wrong with it, in the data set's order.
    ///
    /// # Errors
    /// As [`Runner::run`], and if the journal cannot be written.
    pub fn measure(
        &mut self,
        evaluator: &Evaluator,
        dataset: &Dataset,
        runner: Runner,
        mut hear: impl FnMut(&Picture, Result<Vec<Warning>>),
    ) -> Result<()> {
        let wanted = self.wanted();
        let is_wanted = |(place, picture): &(usize, Result<Picture>)| {
            picture.is_err() || wanted.get(*place).copied().unwrap_or(false)
        };
        let pictures = dataset.pictures()?.take(self.description.pictures).enumerate().filter(is_wanted);
        let pictures = pictures.map(|(place, picture)| picture.map(|picture| (place, picture)));
        let runner = runner.at_once(1).together(evaluator.pictures_together()?).expecting(self.missing());
        runner.run(pictures, &Measuring(evaluator), |Outcome { input, result, .. }| match (input, result) {
            (Some((place, picture)), Ok(Measured { answers, warnings })) => {
                hear(&picture, Ok(warnings));
                self.keep(Line { picture: place, result: Given::Answers(answers) })
            }
            (Some((place, picture)), Err(error)) => {
                let failure = Failure::of(&picture, &error);
                hear(&picture, Err(error));
                self.keep(Line { picture: place, result: Given::Failed(failure) })
            }
            (None, result) => result.map(drop),
        })
    }

    fn keep(&mut self, line: Line) -> Result<()> {
        let text = serde_json::to_string(&line).map_err(|error| self.unwritable(&error))?;
        self.journal.add(line.picture, &text)
    }

    fn unwritable(&self, error: &serde_json::Error) -> Error {
        Error::Run { path: self.folder.path().into(), reason: error.to_string() }
    }

    /// Writes the rows of all lines that are there to `rows.parquet`, and each as a line of JSON to `lines`; returns the
    /// pictures that failed.
    ///
    /// # Errors
    /// If a line cannot be read, or a row written.
    pub fn write_rows(&self, lines: &mut dyn Write) -> Result<Vec<Failure>> {
        let mut failed = Vec::new();
        write_atomically(&self.path(ROWS), |file| self.write_each(file, lines, &mut failed))?;
        Ok(failed)
    }

    /// Makes the summary and the plots of the rows that were written, and puts the journal's lines into the pictures' order.
    ///
    /// # Errors
    /// If there are no rows, or a file cannot be written.
    pub fn finish(&mut self, failed: Vec<Failure>, bootstrap: &Bootstrap) -> Result<Summary> {
        write_atomically(&self.path("failures.jsonl"), |file| {
            failed.iter().try_for_each(|failure| write_line(file, failure))
        })?;
        let dataset = self.description.dataset();
        let mut summary = Summary::of(&RowsFile::open(&self.path(ROWS))?, dataset, failed, bootstrap)?;
        let Description { fieldmark, model_sha256, .. } = &self.description;
        summary.origin = Origin::of_run(fieldmark.clone(), model_sha256.clone());
        summary.skipped = self.description.skipped;
        summary.warnings.clone_from(&self.description.warnings);
        write_json(&self.path("summary.json"), &summary)?;
        write_atomically(&self.path("summary.md"), |file| file.write_all(summary.markdown().as_bytes()))?;
        self.save_plots(&summary)?;
        let order: Vec<usize> = self.description.own_pictures().collect();
        self.journal.finish(order.iter())?;
        Ok(summary)
    }

    /// One walk over the lines, in the pictures' order.
    fn write_each(
        &self,
        file: &mut (impl Write + Send),
        lines: &mut dyn Write,
        failed: &mut Vec<Failure>,
    ) -> io::Result<()> {
        let record = &self.description.record;
        let pairs = pairs(&record.settings);
        let mut writer = RowsWriter::new(file, record)?;
        for picture in self.description.own_pictures() {
            let line = self.journal.line(&picture).map_err(io::Error::other)?;
            match line.map(|line| serde_json::from_str::<Line>(&line)).transpose()? {
                Some(Line { result: Given::Answers(answers), .. }) => {
                    writer.add(picture, &answers)?;
                    let mut rows = answers.iter().flat_map(|answer| answer.rows(&record.settings, &pairs));
                    rows.try_for_each(|row| write_line(lines, &row))?;
                }
                Some(Line { result: Given::Failed(failure), .. }) => failed.push(failure),
                None => {}
            }
        }
        writer.finish()
    }

    fn save_plots(&mut self, summary: &Summary) -> Result<()> {
        let folder = self.folder.prepare_inner(PLOTS)?;
        remove_plots(self.folder.path())?;
        for plot in plots::plots(summary)? {
            let path = folder.join(format!("{}.svg", plot.name));
            write_atomically(&path, |file| file.write_all(plot.svg.as_bytes()))?;
        }
        Ok(())
    }
}

/// The file of the rows, inside the folder.
const ROWS: &str = "rows.parquet";

/// Where the plots are, inside the folder.
const PLOTS: &str = "plots";

pub(super) fn journal_path(folder: &Path) -> PathBuf {
    folder.join("journal.jsonl")
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::Write { path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}

/// Removes the plots of another run: this one may have none of that name.
fn remove_plots(folder: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder.join(PLOTS)) else { return Ok(()) };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let plots = paths.filter(|path| path.extension().is_some_and(|ending| ending == "svg"));
    plots.into_iter().try_for_each(|path| remove(&path))
}

fn write_line(file: &mut dyn Write, record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, record)?;
    file.write_all(b"\n")
}

fn write_json(path: &Path, record: &impl Serialize) -> Result<()> {
    write_atomically(path, |file| {
        serde_json::to_writer_pretty(&mut *file, record)?;
        file.write_all(b"\n")
    })
}
