//! `fieldmark evaluate`: the field's metrics over a data set, for a grid of settings. It can be interrupted at any moment
//! and resumed, and split among machines.

use std::{io, path::Path};

use anyhow::{Context, Result, bail};
use fieldmark::{
    PhotoOptions,
    dataset::{self, Ask, Dataset, Picture},
    evaluate::{
        Evaluator, Faithfulness, Group, Metric, Options, Sanity, Summary, Tolerance,
        run::{Description, Evaluation},
    },
    explain::Rivals,
    files::{Leftover, Registered},
    metric::Bootstrap,
    objective::{Strength, references::SYNONYM_THRESHOLD},
    progress::Warning,
    prompt::ConceptList,
    run::{RunFolder, Runner},
};
use tempfile::TempDir;

use crate::{
    args::{DataArgs, EvaluateArgs, MetricArgs, phrases},
    destination::Destination,
    exit::Exit,
    images, output, signals,
    terminal::Terminal,
};

/// In place of a list's name: what the data set itself can ask about.
const CLASSES: &str = "classes";

pub fn run(args: &EvaluateArgs, terminal: &Terminal) -> Result<Exit> {
    let rows = args.rows.as_deref().map(|rows| Destination::prepare("--rows", rows)).transpose()?;
    Destination::check_standard_output(rows.as_slice(), args.json)?;
    match (&args.dataset, &args.output) {
        (Some(dataset), _) if images::is_standard_input(dataset) => {
            bail!("-: expected a data set's file or directory, found standard input")
        }
        (Some(dataset), _) => measure(args, dataset, rows, terminal),
        (None, Some(output)) => finish(args, Evaluation::merge(&args.merge, output)?, rows),
        (None, None) => bail!("--output: expected a directory, found none"),
    }
}

fn measure(
    args: &EvaluateArgs,
    dataset: &Path,
    rows: Option<Destination>,
    terminal: &Terminal,
) -> Result<Exit> {
    let dataset = Dataset::open(dataset, &data_options(&args.data))?;
    images::note_skipped(dataset.skipped()?, terminal);
    terminal.warn(dataset.warnings());
    let mut options = options(args, &dataset)?;
    let scratch = Scratch::new(args)?;
    let folder = RunFolder::claim(scratch.as_ref().map_or(output(args), Scratch::path))?;
    let (explainer, _) = super::load(&args.model, terminal)?;
    options.methods = super::methods(&args.method);
    let evaluator = Evaluator::new(&explainer, options)?;
    let pictures = args.data.limit.unwrap_or(usize::MAX).min(dataset.passes());
    // What is thrown away need not be compared with anything.
    let hash = args.output.as_ref().and_then(|_| super::model_hash(&args.model, terminal).transpose());
    let description =
        Description::new(&evaluator, &dataset, pictures)?.model_sha256(hash.transpose()?).shard(args.shard);
    let mut evaluation = open(args, folder, description, terminal)?;
    let missing = evaluation.missing();
    let hear = |picture: &Picture, measured: fieldmark::Result<Vec<Warning>>| match measured {
        Ok(warnings) => terminal.warn(&warnings),
        Err(error) => terminal.error(&images::named(error, Some(&picture.path))),
    };
    let runner = Runner::new().with_progress(terminal).cancelled_by(&signals::cancel());
    if let Err(error) = evaluation.measure(&evaluator, &dataset, runner, hear) {
        return super::ended_early(error.into(), missing - evaluation.missing(), terminal);
    }
    finish(args, evaluation, rows)
}

fn finish(args: &EvaluateArgs, mut evaluation: Evaluation, rows: Option<Destination>) -> Result<Exit> {
    let bootstrap = Bootstrap { seed: args.seed, ..Bootstrap::default() };
    let is_printed = !rows.as_ref().is_some_and(Destination::is_standard_output);
    let failed = match rows {
        None => evaluation.write_rows(&mut io::sink())?,
        Some(rows) => {
            let mut failed = Vec::new();
            rows.write(|file| {
                failed = evaluation.write_rows(file).map_err(io::Error::other)?;
                Ok(())
            })?;
            failed
        }
    };
    let summary = evaluation.finish(failed, &bootstrap)?;
    if is_printed {
        print(&summary, args)?;
    }
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

fn data_options(args: &DataArgs) -> dataset::Options {
    let phrase = |subject, old: &Option<String>| phrases::of(&args.phrase, subject).or_else(|| old.clone());
    dataset::Options::default()
        .layout(args.layout)
        .split(args.split.clone())
        .ask(args.ask.clone())
        .place(args.place)
        .prompts(args.prompts.clone())
        .class_phrase(phrase(Ask::Class, &args.class_phrase))
        .part_phrase(phrase(Ask::Part, &args.part_phrase))
        .attribute_phrase(phrase(Ask::Attribute, &args.attribute_phrase))
        .certainty(args.certainty)
        .images(args.images.clone())
        .masks(args.masks.clone())
}

fn options(args: &EvaluateArgs, dataset: &Dataset) -> Result<Options> {
    let tolerance = args.metrics.tolerance.map(|pixels| Tolerance { area: pixels, point: pixels });
    let faithfulness = args.metrics.faithfulness();
    Ok(Options::default()
        .settings(super::view(&args.view)?)
        .methods(args.method.clone())
        .layers(args.layers.grid())
        .strengths(strengths(args)?)
        .aggregates(args.aggregate.clone())
        .rivals(rivals(args, dataset)?)
        .metrics(metrics(&args.metrics, &faithfulness))
        .faithfulness(faithfulness)
        .sanity(Sanity::default().blocks(args.metrics.shuffled_blocks.clone()))
        .concepts(dataset.prompts().to_vec())
        .tolerance(tolerance.unwrap_or_default())
        .photo(PhotoOptions::default().pixel_limit(args.pixel_limit)))
}

/// A single objective refuses strengths that it does not know; of several, each takes those that it knows.
fn strengths(args: &EvaluateArgs) -> Result<Vec<Strength>> {
    match &args.aggregate[..] {
        [aggregate] => super::strengths(aggregate, &args.strength),
        _ if args.strength.is_empty() => Ok(vec![Strength::default()]),
        _ => Ok(args.strength.iter().map(|typed| Strength::new(*typed)).collect::<fieldmark::Result<_>>()?),
    }
}

/// The metrics that were named, alone, by their group or by a preset, in the order of tables.
fn metrics(args: &MetricArgs, faithfulness: &Faithfulness) -> Vec<Metric> {
    let is_named = |name: &str| args.metrics.iter().any(|named| named == name);
    let is_wanted = |metric: &Metric| match metric.group() {
        _ if is_named(metric.name()) => true,
        Group::Localisation => args.metrics.is_empty() || is_named(Group::Localisation.name()),
        Group::Faithfulness => {
            let asked = args.faithfulness.is_some() || is_named(Group::Faithfulness.name());
            asked && faithfulness.metrics.contains(metric)
        }
        group => is_named(group.name()),
    };
    Metric::ALL.iter().copied().filter(is_wanted).collect()
}

/// How rivals are found, if they are not those that the data set names. Its classes are known to be different things,
/// however close their names are.
fn rivals(args: &EvaluateArgs, dataset: &Dataset) -> Result<Option<Rivals>> {
    let concepts = match args.rivals.concepts.as_deref() {
        None => return Ok(None),
        Some(list) if list == Path::new(CLASSES) => {
            let Some(classes) = dataset.concept_list()? else {
                bail!(
                    "--concepts classes: expected a data set with classes, found none in {}",
                    dataset.layout()
                );
            };
            return Ok(Some(super::rivals(&args.rivals, classes, 1.0)));
        }
        Some(list) => ConceptList::open(list)?,
    };
    Ok(Some(super::rivals(&args.rivals, concepts, SYNONYM_THRESHOLD)))
}

/// The directory that was asked for.
fn output(args: &EvaluateArgs) -> &Path {
    args.output.as_deref().unwrap_or(Path::new("."))
}

/// Where a run's files go if no directory was asked for. It is removed with this value, or by a signal.
struct Scratch {
    _registered: Registered,
    folder: TempDir,
}

impl Scratch {
    fn new(args: &EvaluateArgs) -> Result<Option<Self>> {
        if args.output.is_some() {
            return Ok(None);
        }
        let folder = tempfile::tempdir().context("temporary directory: cannot be made")?;
        Ok(Some(Self { _registered: Registered::new(folder.path(), Leftover::Folder), folder }))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Begins a run in its folder, or goes on with the one that exists.
fn open(
    args: &EvaluateArgs,
    folder: RunFolder,
    description: Description,
    terminal: &Terminal,
) -> Result<Evaluation> {
    if args.resume {
        let evaluation = Evaluation::resume(folder, description)?;
        evaluation.left_out().iter().for_each(|note| terminal.note(note));
        return Ok(evaluation);
    }
    if Evaluation::is_there(folder.path()) {
        terminal.note("the results in the output directory are replaced; --resume would go on with them");
    }
    Ok(Evaluation::begin(folder, description)?)
}
