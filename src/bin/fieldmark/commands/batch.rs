//! `fieldmark batch`: a list of prompts on many photos, with a page of all results. It can be interrupted at any
//! moment and resumed, and made again from its manifest.

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use fieldmark::{
    Explainer, Photo, PhotoOptions, Query, Settings,
    explain::{Compare, PhotoSession},
    files::{Names, sync_folder, write_atomically},
    page::{self, Gallery, PageOptions},
    report::Comparison,
    run::{
        self, ComparisonFiles, Described, Drawing, Ended, Entry, Failed, FileKind, Input, Later, Open,
        Opening, Outcome, PhotoNames, Photos, Reading, Results, RunFolder, RunScale, Work, save_text,
    },
};

use crate::{
    args::BatchArgs,
    exit::Exit,
    images,
    manifest::{Manifest, Recipe},
    output,
    terminal::Terminal,
    unfinished::{PICTURES, Unfinished},
};

/// Where the small pictures are, inside the run's folder.
const THUMBNAILS: &str = "thumbnails";

pub fn run(args: &BatchArgs, terminal: &Terminal) -> Result<Exit> {
    if args.asked.images.iter().any(|image| images::is_standard_input(image)) {
        bail!(
            "-: expected files and directories, found standard input: a batch can be resumed and made again"
        );
    }
    let earlier = args.from.as_deref().map(Manifest::read).transpose()?;
    let mut recipe = match &earlier {
        Some(manifest) => manifest.recipe.clone(),
        None => {
            let strength = super::strength(&args.map.aggregate, args.strength, 0.0)?;
            let strength_in_reports = super::page_strength(&args.map.aggregate, args.strength)?;
            let recipe = Recipe::new(args, super::settings(&args.map, args.method.as_deref(), strength)?)?;
            Recipe { strength_in_reports, ..recipe }
        }
    };
    let (kinds, mut settings, drawing) = (recipe.kinds()?, recipe.settings.clone(), recipe.drawing());
    let mut claimed = RunFolder::claim(&args.output.output)?;
    claimed.prepare_inner(THUMBNAILS)?;
    let folder = claimed.path();
    let (model, precision) = (recipe.model_name(), recipe.precision);
    let model = crate::args::ModelArgs { model, precision, ..args.model.clone() };
    let (explainer, load_seconds) = super::load(&model, terminal)?;
    settings.method = Some(explainer.method(&settings)?.name().to_owned());
    recipe.settings.method.clone_from(&settings.method);
    check_prompts(&explainer, &recipe.prompts, &settings)?;
    let manifest = Manifest::new(recipe, explainer.model(), super::model_hash(&model, terminal)?);
    if let Some(earlier) = &earlier {
        tell_differences(&manifest, earlier, terminal);
    }
    let path = folder.join("run.json");
    let found = if args.resume { Manifest::described(&path)? } else { Described::Missing };
    let resumed = match found {
        Described::Whole(old) => {
            manifest.check_continues(&old, &path)?;
            Some(old)
        }
        Described::Damaged(note) => {
            terminal.note(&note);
            None
        }
        Described::Missing => None,
    };
    let photo_options = manifest.recipe.photo_options();
    let options = PageOptions::default()
        .target(0)
        .strength(manifest.recipe.strength_in_reports)
        .templates(manifest.recipe.templates())
        .model_hash(manifest.model_sha256.clone());
    let run = Run {
        args,
        explainer: &explainer,
        settings,
        kinds,
        options,
        drawing,
        photo_options,
        folder,
        load_seconds,
        described: resumed.is_some(),
        terminal,
    };
    run.all(manifest, earlier.as_ref(), resumed.and_then(|old| old.scale))
}

/// An unusable prompt is reported before any photo is opened.
fn check_prompts(explainer: &Explainer, prompts: &[String], settings: &Settings) -> Result<()> {
    let (first, others) = prompts.split_first().context("prompts: expected at least one, found none")?;
    Ok(explainer.check(&Query::new(first).against(others.iter()).with(settings.clone()))?)
}

/// A run that is made again may meet another program or checkpoint: then its results may be others.
fn tell_differences(new: &Manifest, earlier: &Manifest, terminal: &Terminal) {
    if new.fieldmark != earlier.fieldmark {
        terminal
            .note(&format!("the run was made by fieldmark {}, this is {}", earlier.fieldmark, new.fieldmark));
    }
    if new.model_sha256 != earlier.model_sha256 {
        terminal.note(&format!("{}: the checkpoint is not the one of the run", new.recipe.model));
    }
}

/// A photo's file, and the names of its results.
struct Named {
    names: PhotoNames,
    path: PathBuf,
}

/// A photo that is to be answered, and the seconds that opening it took.
struct Opened {
    input: Input,
    photo: Photo,
    seconds: f64,
}

/// A photo whose files are written.
enum Answered {
    /// By an earlier run.
    Before(Entry),
    /// By this run, which has not reported it yet.
    Now(Input, Box<Comparison>),
}

struct Run<'a> {
    args: &'a BatchArgs,
    explainer: &'a Explainer,
    settings: Settings,
    kinds: Vec<FileKind>,
    options: PageOptions,
    drawing: Drawing,
    photo_options: PhotoOptions,
    folder: &'a Path,
    load_seconds: f64,
    /// Whether the folder has the description of a run with the same settings.
    described: bool,
    terminal: &'a Terminal,
}

impl Run<'_> {
    fn all(
        &self,
        mut manifest: Manifest,
        earlier: Option<&Manifest>,
        drawn_at: Option<RunScale>,
    ) -> Result<Exit> {
        let results = Mutex::new(self.results(&manifest.run_name()?)?);
        let recipe = manifest.recipe.clone();
        let Photos { files: images, skipped } = distinct(&recipe.images(), self.terminal);
        manifest.skipped = skipped;
        // Only now: a run that ends here leaves no new description beside old results.
        manifest.write(&self.folder.join("run.json"))?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut unfinished = self.unfinished(drawn_at)?;
        let runner = super::runner(self.explainer, &self.settings, self.terminal)?.expecting(images.len());
        let mut names = Names::new();
        let mut named =
            |path: PathBuf| Named { names: PhotoNames::new(&mut names, &path, &recipe.prompts), path };
        let answering = Answering { run: self, recipe: &recipe, results: &results };
        let images = images.into_iter().map(|image| image.map(&mut named));
        let ended = runner.run(images, &answering, |Outcome { input, result, seconds }| {
            match result {
                Ok(answered) => {
                    let entry = self.entry(answered, seconds, &results, &mut unfinished)?;
                    self.tell_change(&entry.input, earlier);
                    entries.push(entry);
                }
                Err(error) => {
                    let path = input.map(|photo| photo.path);
                    let error = images::named(error, path.as_deref());
                    self.terminal.error(&error);
                    let image = path.unwrap_or_default().into();
                    manifest.failed.push(Failed { image, reason: crate::terminal::chain(&error) });
                }
            }
            Ok::<_, anyhow::Error>(())
        });
        if let Err(error) = ended {
            return super::ended_early(error, entries.len(), self.terminal);
        }
        if let Some(unfinished) = unfinished {
            let answered = entries.len();
            match unfinished.draw(&mut entries) {
                Ok((scale, failed)) => {
                    manifest.scale = Some(scale);
                    manifest.failed.extend(failed);
                }
                Err(error) => return super::ended_early(error, answered, self.terminal),
            }
        }
        results.into_inner().unwrap_or_else(PoisonError::into_inner).finish(&entries)?;
        self.finish(manifest, &entries)
    }

    /// The journal, whose lines bear the run's name.
    fn results(&self, run: &str) -> Result<Results> {
        let path = &self.folder.join("results.jsonl");
        if self.args.resume {
            let results = Results::resume(path, Reading { run, described: self.described })?;
            results.left_out().iter().for_each(|note| self.terminal.note(note));
            return Ok(results);
        }
        if !Results::is_empty(path) {
            self.terminal
                .note("the results in the output directory are replaced; --resume would go on with them");
        }
        Ok(Results::begin(path, run)?)
    }

    /// Opens a photo, or finds its answer of before.
    fn open(
        &self,
        Named { names, path: image }: &Named,
        recipe: &Recipe,
        results: &Mutex<Results>,
    ) -> fieldmark::Result<Opening<Opened, Answered>> {
        let start = Instant::now();
        let bytes = images::bytes(image, &recipe.photo_options())?;
        let input = Input::new(image, &bytes);
        let thumbnails: Vec<String> = names.prompts.iter().map(|name| thumbnail(name)).collect();
        {
            let results = results.lock().unwrap_or_else(PoisonError::into_inner);
            let later = if self.drawing.waits { &PICTURES[..] } else { &[] };
            if let Some(entry) = results.known(&input, self.folder, &thumbnails, later)? {
                return Ok(Opening::Known(Answered::Before(entry)));
            }
        }
        let photo = Photo::from_bytes(image, &bytes, &recipe.photo_options())?;
        self.terminal.warn(photo.warnings());
        let seconds = start.elapsed().as_secs_f64();
        Ok(Opening::Photo(Opened { input, photo, seconds }))
    }

    /// Writes a photo's files.
    fn save(
        &self,
        names: &PhotoNames,
        opened: &Opened,
        mut compared: Compare,
    ) -> fieldmark::Result<Answered> {
        let Opened { input, photo, seconds: open_seconds } = opened;
        self.terminal.warn(&compared.warnings);
        let start = Instant::now();
        let files = ComparisonFiles {
            folder: self.folder,
            names,
            photo,
            options: &self.options,
            drawing: self.drawing,
        };
        files.save(&self.kinds, &mut compared)?;
        self.save_thumbnails(photo, &mut compared, names)?;
        let mut report = compared.report;
        report.seconds.render = start.elapsed().as_secs_f64();
        report.seconds.decode += open_seconds;
        // What the journal has is on the disk.
        [self.folder, &self.folder.join(THUMBNAILS)].into_iter().try_for_each(sync_folder)?;
        Ok(Answered::Now(input.clone(), Box::new(report)))
    }

    /// Prints a photo's record and enters it into the journal, unless it is there. The photo had so many seconds of the
    /// run.
    fn entry(
        &self,
        answered: Answered,
        seconds: f64,
        results: &Mutex<Results>,
        unfinished: &mut Option<Unfinished>,
    ) -> Result<Entry> {
        let (input, mut report) = match answered {
            Answered::Before(entry) => {
                unfinished.iter_mut().for_each(Unfinished::add_known);
                return Ok(entry);
            }
            Answered::Now(input, report) => (input, *report),
        };
        report.seconds = report.seconds.adding_up_to(seconds);
        report.seconds.load = self.load_seconds;
        match unfinished {
            Some(unfinished) => unfinished.add(&report)?,
            None if self.args.output.json => self.terminal.without_bars(|| output::json(&report))?,
            None => {}
        }
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(results.add(&input, &inside(report, self.folder))?)
    }

    /// The pictures that are drawn when all photos are answered, if there are any.
    fn unfinished(&self, drawn_at: Option<RunScale>) -> Result<Option<Unfinished<'_>>> {
        let kinds: Vec<_> = self.kinds.iter().copied().filter(|kind| kind.has_scale()).collect();
        if !self.drawing.waits || kinds.is_empty() {
            return Ok(None);
        }
        let (folder, bar) = (self.folder, self.drawing.bar);
        let later = Later { folder, kinds, bar, photo: self.photo_options };
        Unfinished::new(later, drawn_at, self.args.output.json, self.terminal).map(Some)
    }

    fn save_thumbnails(
        &self,
        photo: &Photo,
        compared: &mut Compare,
        names: &PhotoNames,
    ) -> fieldmark::Result<()> {
        let pictures = page::thumbnails(photo.rgb(), &compared.maps)?;
        let prompts = compared.report.prompts.iter_mut().zip(pictures);
        for ((prompt, picture), name) in prompts.zip(&names.prompts) {
            let path = self.folder.join(thumbnail(name));
            write_atomically(&path, |file| file.write_all(&picture))?;
            prompt.files.insert("thumbnail".into(), path);
        }
        Ok(())
    }

    /// A photo that changed since the run that is made again.
    fn tell_change(&self, input: &Input, earlier: Option<&Manifest>) {
        let before = earlier.and_then(|run| run.inputs.iter().find(|known| known.image == input.image));
        if before.is_some_and(|before| before != input) {
            let photo = input.image.path();
            self.terminal.note(&format!("{}: the photo is not the one of the run", photo.display()));
        }
    }

    /// Writes what is about all photos: the page first, then the manifest.
    fn finish(&self, mut manifest: Manifest, entries: &[Entry]) -> Result<Exit> {
        let path = self.folder.join("index.html");
        let recipe = &manifest.recipe;
        let gallery = Gallery {
            summary: format!("{}, strength {}", recipe.model, recipe.settings.strength.get()),
            settings: recipe.rows(),
            prompts: recipe.prompts.clone(),
            shots: entries.iter().map(Entry::shot).collect(),
            failed: manifest.failed.iter().map(|failed| failed.reason.clone()).collect(),
        };
        save_text(&path, &page::gallery(&gallery)?)?;
        manifest.inputs = entries.iter().map(|entry| entry.input.clone()).collect();
        manifest.outputs = entries.iter().flat_map(Entry::files).cloned().collect();
        manifest.outputs.extend(["index.html", "results.jsonl"].map(str::to_owned));
        manifest.write(&self.folder.join("run.json"))?;
        if !self.args.output.json {
            output::batch(&manifest.recipe.prompts, entries, &path)?;
        }
        Ok(Exit::of(entries.len(), manifest.failed.len()))
    }
}

/// What the run does with each photo.
struct Answering<'r> {
    run: &'r Run<'r>,
    recipe: &'r Recipe,
    results: &'r Mutex<Results>,
}

impl Work for Answering<'_> {
    type Input = Named;
    type Opened = Opened;
    type Answer = Compare;
    type Output = Answered;

    fn memory(&self, photo: &Named) -> u64 {
        run::memory(&photo.path)
    }

    fn open(&self, photo: &Named) -> fieldmark::Result<Opening<Opened, Answered>> {
        self.run.open(photo, self.recipe, self.results)
    }

    fn answer(&self, opened: &[Open<'_, Named, Opened>], ended: &Ended) -> Vec<fieldmark::Result<Compare>> {
        let Run { explainer, settings, .. } = self.run;
        let sessions = explainer.sessions(opened.iter().map(|open| &open.photo.photo), settings);
        let compare = |mut session: PhotoSession| {
            ended.check()?;
            session.compare(&self.recipe.prompts, settings)
        };
        let answers = sessions.into_iter().map(compare);
        super::if_unchanged(explainer, answers)
    }

    fn finish(&self, open: &Open<'_, Named, Opened>, compared: Compare) -> fieldmark::Result<Answered> {
        self.run.save(&open.input.names, &open.photo, compared)
    }
}

/// The small picture of one prompt on one photo, relative to the run's folder.
fn thumbnail(name: &str) -> String {
    format!("{THUMBNAILS}/{name}.jpg")
}

/// The photos behind the paths of a recipe, each once.
fn distinct(paths: &[PathBuf], terminal: &Terminal) -> Photos {
    let mut seen = HashSet::new();
    let mut images = images::expand(paths, terminal);
    images.files.retain(|image| image.as_ref().map_or(true, |image| seen.insert(image.clone())));
    images
}

/// The record with its files relative to the run's folder, so that the folder can be moved.
fn inside(mut report: Comparison, folder: &Path) -> Comparison {
    let of_prompts = report.prompts.iter_mut().flat_map(|prompt| prompt.files.values_mut());
    for path in report.files.values_mut().chain(of_prompts) {
        if let Ok(relative) = path.strip_prefix(folder) {
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            *path = parts.join("/").into();
        }
    }
    report
}
