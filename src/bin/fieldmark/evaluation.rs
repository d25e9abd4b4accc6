//! The folder of an evaluation: `run.json`, which says what decides its rows; the journal, a line for every picture; and
//! what is made of them at the end. In this order: a picture's line, in one write; when all are there the rows, what
//! failed, the summary and the plots, each file whole or not at all. So a run that is killed at any moment loses one
//! picture's work, and what is made of the lines is the same whoever wrote them.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use fieldmark::{
    dataset::Picture,
    digest::{Hasher, hexadecimal},
    evaluate::{Answer, Failure, Record, RowsFile, RowsWriter, Summary, pairs, plots},
    files::{escaped, read_bounded, unescaped, write_atomically},
    folder::Skipped,
    metric::Bootstrap,
    report::Origin,
    run::{Content, Described, Journal, Reading, RunFolder, described, difference, run_name},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::{destination::Destination, shard::Shard};

/// A run's description takes less.
const LARGEST: u64 = 64 << 20;

/// What decides the rows of a run: `run.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// The program's version.
    pub fieldmark: String,
    /// The hash of the checkpoint's files; none of the miniature, which is a part of the program.
    pub model_sha256: Option<String>,
    /// The data set as it was typed.
    #[serde(flatten)]
    pub dataset: DatasetPath,
    /// The hash of everything that it asks.
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
    #[serde(flatten)]
    pub record: Record,
}

/// A data set in JSON: `dataset`, where what is not UTF-8 of its path is U+FFFD, and the escaped form of such a path,
/// `dataset_bytes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DatasetPath {
    dataset: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset_bytes: Option<String>,
}

impl DatasetPath {
    fn path(&self) -> PathBuf {
        self.dataset_bytes.as_ref().map_or_else(|| PathBuf::from(&self.dataset), |bytes| unescaped(bytes))
    }
}

impl From<&Path> for DatasetPath {
    fn from(path: &Path) -> Self {
        Self { dataset: path.to_string_lossy().into_owned(), dataset_bytes: escaped(path) }
    }
}

impl Description {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("run.json");
        let bytes = read_bounded(&path, LARGEST)?;
        serde_json::from_slice(&bytes).with_context(|| {
            format!("{}: expected the description of an evaluation; --resume writes it again", path.display())
        })
    }

    /// Whether a picture belongs to the run or the part.
    pub fn has(&self, picture: usize) -> bool {
        picture < self.pictures && self.shard.is_none_or(|shard| shard.has(picture))
    }

    fn own_pictures(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.pictures).filter(|picture| self.has(*picture))
    }

    /// How many pictures belong to the run or the part.
    pub fn size(&self) -> usize {
        self.own_pictures().count()
    }

    /// The name of the run in its journal, which its parts share.
    fn run_name(&self) -> Result<String> {
        let whole = Self { shard: None, ..self.deciding() };
        Ok(run_name(&serde_json::to_value(whole)?.to_string()))
    }

    /// Without what decides no row.
    fn deciding(&self) -> Self {
        Self { skipped: Skipped::default(), warnings: Vec::new(), ..self.clone() }
    }

    fn check_same(&self, other: &Self, named: &str, with: &str) -> Result<()> {
        let values = [self, other].map(|one| serde_json::to_value(one.deciding()));
        let [one, other] = values;
        match difference(&one?, &other?) {
            Some((name, one, other)) => bail!("{named}: {name}: this run has {one}, {with} {other}"),
            None => Ok(()),
        }
    }
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    picture: usize,
    #[serde(flatten)]
    result: Measured,
}

/// The outcome of a picture.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Measured {
    Answers(Vec<Answer>),
    Failed(Failure),
}

/// The part of a line that says what it is about.
#[derive(Deserialize)]
struct Head {
    picture: usize,
    failed: Option<IgnoredAny>,
}

/// The SHA-256 of what a data set asks: of every picture's name and questions, in their order.
pub fn hash_of_questions(
    pictures: impl Iterator<Item = fieldmark::Result<Picture>>,
) -> fieldmark::Result<String> {
    let mut hash = Hasher::new();
    for picture in pictures {
        let Picture { name, questions, .. } = picture?;
        hash.update(format!("{name:?} {questions:?}\n").as_bytes());
    }
    Ok(hexadecimal(&hash.finish()))
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
    pub fn begin(folder: RunFolder, description: Description) -> Result<Self> {
        // First the lines of another run go, then this one may call them its own.
        let journal = Journal::begin(&journal_path(folder.path()), &description.run_name()?)?;
        for name in ["rows.parquet", "summary.json", "summary.md", "failures.jsonl"] {
            remove(&folder.path().join(name))?;
        }
        remove_plots(folder.path())?;
        Self { folder, description, journal, damaged: None }.described()
    }

    /// Goes on with the run in the folder, if there is one. Pictures that failed are tried again.
    pub fn resume(folder: RunFolder, description: Description) -> Result<Self> {
        let path = folder.path().join("run.json");
        let (described, damaged) = match described(&path, ("recipe", "an evaluation", "a batch"))? {
            Described::Whole(old) => {
                description.check_same(&old, &path.display().to_string(), "the one to resume")?;
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
    pub fn merge(parts: &[PathBuf], folder: &Path) -> Result<Self> {
        let parts: Vec<Part> = parts.iter().map(|part| Part::open(part)).collect::<Result<_>>()?;
        let Some(first) = parts.first() else {
            bail!("--merge: expected at least one directory, found none")
        };
        for part in &parts {
            first.check_belongs(part)?;
        }
        let whole = Description { shard: None, ..first.description.clone() };
        let by_index = by_index(&parts, first.shard()?.count)?;
        for part in &parts {
            part.check_whole()?;
            if folder.canonicalize().ok() == part.folder.canonicalize().ok() {
                bail!("{}: expected a directory beside the parts, found one of them", folder.display());
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
    pub fn wanted(&self) -> Vec<bool> {
        let is_wanted = |picture| self.description.has(picture) && !self.journal.has(&picture);
        (0..self.description.pictures).map(is_wanted).collect()
    }

    /// How many pictures are still to be measured.
    pub fn missing(&self) -> usize {
        self.description.own_pictures().filter(|picture| !self.journal.has(picture)).count()
    }

    /// Keeps what a picture gave.
    pub fn add(&mut self, picture: usize, answers: Vec<Answer>) -> Result<()> {
        self.keep(Line { picture, result: Measured::Answers(answers) })
    }

    /// Keeps that a picture could not be measured.
    pub fn fail(&mut self, picture: usize, failure: Failure) -> Result<()> {
        self.keep(Line { picture, result: Measured::Failed(failure) })
    }

    fn keep(&mut self, line: Line) -> Result<()> {
        Ok(self.journal.add(line.picture, &serde_json::to_string(&line)?)?)
    }

    /// Makes the files of the lines; `rows`: also a file with a JSON object for every line and contrasted setting.
    pub fn finish(&mut self, bootstrap: &Bootstrap, rows: Option<Destination>) -> Result<Summary> {
        let path = self.path("rows.parquet");
        let mut failed = Vec::new();
        match rows {
            None => self.write_rows(&path, &mut failed, &mut io::sink())?,
            Some(rows) => {
                rows.write(|file| self.write_rows(&path, &mut failed, file).map_err(io::Error::other))?;
            }
        }
        write_atomically(&self.path("failures.jsonl"), |file| {
            failed.iter().try_for_each(|failure| write_line(file, failure))
        })?;
        let dataset = self.description.dataset.path();
        let mut summary = Summary::of(&RowsFile::open(&path)?, dataset, failed, bootstrap)?;
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
    fn write_rows(&self, path: &Path, failed: &mut Vec<Failure>, lines: &mut impl Write) -> Result<()> {
        let record = &self.description.record;
        let pairs = pairs(&record.settings);
        let written = write_atomically(path, |file| {
            let mut writer = RowsWriter::new(file, record)?;
            for picture in self.description.own_pictures() {
                let line = self.journal.line(&picture).map_err(io::Error::other)?;
                match line.map(|line| serde_json::from_str::<Line>(&line)).transpose()? {
                    Some(Line { result: Measured::Answers(answers), .. }) => {
                        writer.add(picture, &answers)?;
                        let mut rows =
                            answers.iter().flat_map(|answer| answer.rows(&record.settings, &pairs));
                        rows.try_for_each(|row| write_line(lines, &row))?;
                    }
                    Some(Line { result: Measured::Failed(failure), .. }) => failed.push(failure),
                    None => {}
                }
            }
            writer.finish()
        });
        Ok(written?)
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

/// Where the plots are, inside the folder.
const PLOTS: &str = "plots";

fn journal_path(folder: &Path) -> PathBuf {
    folder.join("journal.jsonl")
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
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

fn write_line(file: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *file, record)?;
    file.write_all(b"\n")
}

fn write_json(path: &Path, record: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    Ok(write_atomically(path, |file| file.write_all(&text))?)
}

/// A part of a run, as it was left.
struct Part {
    folder: PathBuf,
    description: Description,
    journal: Journal<usize>,
}

impl Part {
    fn open(folder: &Path) -> Result<Self> {
        let picture = |line: &str| Some(Content::Done(serde_json::from_str::<Head>(line).ok()?.picture));
        let description = Description::read(folder)?;
        let run = description.run_name()?;
        let journal = Journal::read(&journal_path(folder), Reading { run: &run, described: true }, picture)?;
        Ok(Self { folder: folder.into(), description, journal })
    }

    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn shard(&self) -> Result<Shard> {
        let shard = self.description.shard;
        shard.with_context(|| format!("{}: expected a part of a run, found a whole one", self.name()))
    }

    fn check_belongs(&self, other: &Self) -> Result<()> {
        let (one, two) = (self.shard()?, other.shard()?);
        if one.count != two.count {
            bail!("{}: expected one of {} parts, found {two}", other.name(), one.count);
        }
        let same = Description { shard: self.description.shard, ..other.description.clone() };
        same.check_same(&self.description, &other.name(), &format!("that of {}", self.name()))
    }

    fn check_whole(&self) -> Result<()> {
        let missing = self.description.own_pictures().filter(|picture| !self.journal.has(picture)).count();
        if missing == 0 {
            return Ok(());
        }
        let (name, size, shard) = (self.name(), self.description.size(), self.shard()?);
        let left_out: String = self.journal.left_out().iter().map(|note| format!("; {note}")).collect();
        bail!(
            "{name}: expected all {size} pictures of part {shard}, found {missing} of them missing{left_out}"
        )
    }
}

/// The parts by their index, each of them once.
fn by_index(parts: &[Part], count: usize) -> Result<Vec<&Part>> {
    let mut by_index: Vec<Option<&Part>> = vec![None; count];
    for part in parts {
        let shard = part.shard()?;
        if let Some(other) = by_index[shard.index].replace(part) {
            bail!("{}: part {shard} appears twice, also in {}", part.name(), other.name());
        }
    }
    let missing = by_index.iter().position(Option::is_none);
    match missing {
        Some(index) => bail!("--merge: part {index}/{count} is missing"),
        None => Ok(by_index.into_iter().flatten().collect()),
    }
}
