//! `fieldmark evaluate`: the field's metrics over a data set.

use std::{io::Write, path::Path};

use anyhow::Result;
use fieldmark::{
    PhotoOptions,
    dataset::{self, Dataset, Picture},
    evaluate::{Evaluator, Options, Summary, Tally, Tolerance},
    files::{prepare_folder, write_atomically},
    metric::Bootstrap,
};
use indicatif::ProgressBar;

use crate::{args::EvaluateArgs, exit::Exit, output, terminal::Terminal};

pub fn run(args: &EvaluateArgs, terminal: &Terminal) -> Result<Exit> {
    let mut options = options(args)?;
    let dataset = Dataset::open(&args.dataset, &dataset::Options::default())?;
    if let Some(folder) = args.rows.as_deref().and_then(Path::parent) {
        prepare_folder(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    }
    let (explainer, _) = super::load(&args.model, terminal)?;
    options.methods = super::methods(&args.method, &explainer, &options.settings, terminal)?;
    let evaluator = Evaluator::new(&explainer, options)?;
    let looks = args.limit.unwrap_or(usize::MAX).min(dataset.looks());
    let bar = terminal.photos(looks);
    let mut run = Run { evaluator: &evaluator, terminal, bar, tally: Tally::new(), done: 0, failed: 0 };
    match &args.rows {
        Some(path) => write_atomically(path, |file| run.all(&dataset, looks, file))?,
        None => run.all(&dataset, looks, &mut std::io::sink())?,
    }
    let bootstrap = Bootstrap { seed: args.seed, ..Bootstrap::default() };
    print(&run.tally.summary(dataset.path().into(), evaluator.plan(), &bootstrap), args.json)?;
    Ok(Exit::of(run.done, run.failed))
}

fn options(args: &EvaluateArgs) -> Result<Options> {
    let tolerance = args.tolerance.map(|pixels| Tolerance { area: pixels, point: pixels });
    Ok(Options {
        settings: super::view(&args.view)?,
        methods: args.method.clone(),
        layers: args.layer.clone(),
        strengths: super::strengths(&args.view, &args.strength)?,
        tolerance: tolerance.unwrap_or_default(),
        photo: PhotoOptions { pixel_limit: args.pixel_limit },
    })
}

fn print(summary: &Summary, json: bool) -> Result<()> {
    match json {
        true => output::json(summary),
        false => output::evaluation(summary),
    }
}

struct Run<'a> {
    evaluator: &'a Evaluator<'a>,
    terminal: &'a Terminal,
    bar: ProgressBar,
    tally: Tally,
    done: usize,
    failed: usize,
}

impl Run<'_> {
    /// Measures the pictures and writes their rows. A picture that cannot be measured does not stop the others.
    fn all(&mut self, dataset: &Dataset, looks: usize, rows: &mut dyn Write) -> std::io::Result<()> {
        let pictures = dataset.pictures().map_err(std::io::Error::other)?;
        for picture in pictures.take(looks) {
            self.one(&picture.map_err(std::io::Error::other)?, rows)?;
            self.bar.inc(1);
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    fn one(&mut self, picture: &Picture, rows: &mut dyn Write) -> std::io::Result<()> {
        match self.evaluator.measure(picture) {
            Ok(measured) => {
                self.terminal.warn(&measured.warnings);
                for row in &measured.rows {
                    serde_json::to_writer(&mut *rows, row)?;
                    rows.write_all(b"\n")?;
                }
                self.tally.add(&measured.rows);
                self.done += 1;
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                self.terminal.error(&error);
                self.tally.fail(picture, format!("{error:#}"));
                self.failed += 1;
            }
        }
        Ok(())
    }
}
