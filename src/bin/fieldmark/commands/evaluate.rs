//! `fieldmark evaluate`: the field's metrics over a data set, for a grid of settings. It can be interrupted at any moment
//! and resumed, and split among machines.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fieldmark::{
    PhotoOptions,
    dataset::{Manifest, Picture},
    evaluate::{Evaluator, Failure, METRICS, Metric, Options, Summary, Tolerance},
    metric::Bootstrap,
    objective::{Strength, references::SYNONYM_THRESHOLD},
    pipeline::Rivals,
    prompt::ConceptList,
};
use tempfile::TempDir;

use crate::{
    args::{EvaluateArgs, LOCALISATION},
    evaluation::{Description, Evaluation},
    exit::Exit,
    hashes, output,
    terminal::Terminal,
};

/// In place of a list's name: what the data set itself can ask about.
const CLASSES: &str = "classes";

pub fn run(args: &EvaluateArgs, terminal: &Terminal) -> Result<Exit> {
    if let Some(rows) = &args.rows {
        super::prepare_folder_of(rows)?;
    }
    match (&args.dataset, &args.output) {
        (Some(dataset), _) => measure(args, dataset, terminal),
        (None, Some(output)) => finish(args, &Evaluation::merge(&args.merge, output)?),
        (None, None) => bail!("--output: expected a directory, found none"),
    }
}

fn measure(args: &EvaluateArgs, dataset: &Path, terminal: &Terminal) -> Result<Exit> {
    let dataset = Manifest::open(dataset)?;
    let mut options = options(args, &dataset)?;
    let folder = Folder::new(args)?;
    let (explainer, _) = super::load(&args.model, terminal)?;
    options.methods = super::methods(&args.method, &explainer, &options.settings, terminal)?;
    let evaluator = Evaluator::new(&explainer, options)?;
    let pictures = args.limit.unwrap_or(usize::MAX).min(dataset.looks());
    let description = Description {
        fieldmark: env!("CARGO_PKG_VERSION").to_owned(),
        // What is thrown away need not be compared with anything.
        model_sha256: args
            .output
            .as_ref()
            .and_then(|_| super::model_hash(&args.model, terminal).transpose())
            .transpose()?,
        dataset: dataset.path().into(),
        questions_sha256: hashes::of_questions(dataset.pictures()?.take(pictures))?,
        pictures,
        shard: args.shard,
        record: evaluator.record(),
    };
    let mut evaluation = folder.open(args, description, terminal)?;
    let run = Run { evaluator: &evaluator, terminal };
    run.all(dataset.pictures()?.take(pictures), &mut evaluation)?;
    finish(args, &evaluation)
}

fn finish(args: &EvaluateArgs, evaluation: &Evaluation) -> Result<Exit> {
    let bootstrap = Bootstrap { seed: args.seed, ..Bootstrap::default() };
    let summary = evaluation.finish(&bootstrap, args.rows.as_deref())?;
    print(&summary, args)?;
    Ok(Exit::of(summary.counts.images, summary.failed.len()))
}

fn print(summary: &Summary, args: &EvaluateArgs) -> Result<()> {
    if args.json {
        return output::json(summary);
    }
    output::evaluation(summary)?;
    match &args.output {
        Some(folder) => output::text(&output::shown_path(&folder.join("summary.md"))),
        None => Ok(()),
    }
}

fn options(args: &EvaluateArgs, dataset: &Manifest) -> Result<Options> {
    let tolerance = args.tolerance.map(|pixels| Tolerance { area: pixels, point: pixels });
    Ok(Options {
        settings: super::view(&args.view)?,
        methods: args.method.clone(),
        layers: args.layer.clone(),
        strengths: strengths(args)?,
        aggregates: args.aggregate.clone(),
        rivals: rivals(args, dataset)?,
        metrics: metrics(&args.metrics)?,
        tolerance: tolerance.unwrap_or_default(),
        photo: PhotoOptions { pixel_limit: args.pixel_limit },
    })
}

/// A single objective refuses strengths that it does not know; of several, each takes those that it knows.
fn strengths(args: &EvaluateArgs) -> Result<Vec<Strength>> {
    match &args.aggregate[..] {
        [aggregate] => super::strengths(aggregate, &args.strength),
        _ if args.strength.is_empty() => Ok(vec![Strength::default()]),
        _ => Ok(args.strength.iter().map(|typed| Strength::new(*typed)).collect::<fieldmark::Result<_>>()?),
    }
}

/// The metrics that were named, alone or by their group, in the order of tables.
fn metrics(names: &[String]) -> Result<Vec<Metric>> {
    let is_named = |metric: &Metric| names.iter().any(|name| name == LOCALISATION || name == metric.name());
    Ok(METRICS.into_iter().filter(is_named).collect())
}

fn rivals(args: &EvaluateArgs, dataset: &Manifest) -> Result<Option<Rivals>> {
    let concepts = match args.rivals.concepts.as_deref() {
        None => return Ok(None),
        Some(CLASSES) => return Ok(Some(super::rivals(&args.rivals, classes(dataset)?, 1.0))),
        Some(list) => ConceptList::open(list)?,
    };
    Ok(Some(super::rivals(&args.rivals, concepts, SYNONYM_THRESHOLD)))
}

/// What a data set can ask about, as a list. Its classes are known to be different things, however close their names
/// are.
fn classes(dataset: &Manifest) -> Result<ConceptList> {
    let _ = dataset;
    bail!("--concepts classes: the data set names no classes")
}

/// Where a run's files go: into the directory that was asked for, or into one that is thrown away.
enum Folder {
    Kept(PathBuf),
    Scratch(TempDir),
}

impl Folder {
    fn new(args: &EvaluateArgs) -> Result<Self> {
        match &args.output {
            Some(folder) => {
                fieldmark::files::prepare_folder(folder)?;
                Ok(Self::Kept(folder.clone()))
            }
            None => Ok(Self::Scratch(tempfile::tempdir().context("temporary directory: cannot be made")?)),
        }
    }

    fn open(&self, args: &EvaluateArgs, description: Description, terminal: &Terminal) -> Result<Evaluation> {
        let path = match self {
            Self::Kept(folder) => folder.as_path(),
            Self::Scratch(folder) => folder.path(),
        };
        if args.resume {
            return Evaluation::resume(path, description);
        }
        if Evaluation::is_there(path) {
            terminal.note("the results in the output directory are replaced; --resume would go on with them");
        }
        Evaluation::begin(path, description)
    }
}

struct Run<'a> {
    evaluator: &'a Evaluator<'a>,
    terminal: &'a Terminal,
}

impl Run<'_> {
    /// Measures the pictures that are not there yet. One that cannot be measured does not stop the others.
    fn all(
        &self,
        pictures: impl Iterator<Item = fieldmark::Result<Picture>>,
        evaluation: &mut Evaluation,
    ) -> Result<()> {
        let bar = self.terminal.photos(evaluation.missing());
        for (place, picture) in pictures.enumerate() {
            let picture = picture?;
            if evaluation.wants(place) {
                self.one(place, &picture, evaluation)?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn one(&self, place: usize, picture: &Picture, evaluation: &mut Evaluation) -> Result<()> {
        let error = match self.evaluator.measure(picture) {
            Ok(measured) => {
                self.terminal.warn(&measured.warnings);
                return evaluation.add(place, measured.answers);
            }
            Err(error) => anyhow::Error::from(error),
        };
        if super::is_about_the_model(&error) {
            return Err(error);
        }
        self.terminal.error(&error);
        evaluation.fail(place, Failure::new(picture, format!("{error:#}")))
    }
}
