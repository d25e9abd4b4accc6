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
    files::{Names, sync_folder, write_atomically},
    page::{self, Gallery, PageOptions},
    pipeline::{Compare, Looks},
    report::Comparison,
};

use crate::{
    args::{BatchArgs, CompareKind},
    exit::Exit,
    hashes, images,
    in_order::{Ended, Opening, groups, in_order, in_steps},
    journal::Reading,
    later::{Later, RunScale},
    manifest::{Described, Failed, Input, Manifest, Recipe},
    output,
    results::{Entry, Results},
    run_folder::RunFolder,
    saving::{ComparisonFiles, Drawing, PhotoNames, save_text},
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
    let (kinds, mut settings, drawing) = (recipe.kinds()?, recipe.settings()?, recipe.drawing()?);
    let mut claimed = RunFolder::claim(&args.output.output)?;
    claimed.prepare_inner(THUMBNAILS)?;
    let folder = claimed.path();
    let (model, precision) = (recipe.model_name(), recipe.precision);
    let model = crate::args::ModelArgs { model, precision, ..args.model.clone() };
    let (explainer, load_seconds) = super::load(&model, terminal)?;
    recipe.method = Some(explainer.method(&settings)?.name().to_owned());
    settings.method.clone_from(&recipe.method);
    check_prompts(&explainer, &recipe.prompts, &settings)?;
    let manifest = Manifest::new(recipe, super::model_hash(&model, terminal)?);
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
    let options = PageOptions {
        target: 0,
        strength: manifest.recipe.strength_in_reports,
        templates: manifest.recipe.templates.clone(),
        model_hash: manifest.model_sha256.clone(),
    };
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

/// A prompt that cannot be used is told before any photo is opened.
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

/// A photo that is to be answered, the names of its files and the seconds that opening it took.
struct Opened {
    input: Input,
    names: PhotoNames,
    photo: Photo,
    seconds: f64,
}

/// A photo whose files are written.
enum Answered {
    /// By an earlier run.
    Before(Entry),
    /// By this run, which has not yet told of it.
    Now(Input, Box<Comparison>),
}

struct Run<'a> {
    args: &'a BatchArgs,
    explainer: &'a Explainer,
    settings: Settings,
    kinds: Vec<CompareKind>,
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
        let images::Photos { files: images, skipped } = distinct(&recipe.images(), self.terminal);
        manifest.skipped = skipped;
        // Only now: a run that ends here leaves no new description beside old results.
        manifest.write(&self.folder.join("run.json"))?;
        let bar = self.terminal.photos(images.len());
        let mut names = Names::new();
        let mut named = |image: PathBuf| (PhotoNames::new(&mut names, &image, &recipe.prompts), image);
        let images: Vec<_> = images.into_iter().map(|image| image.map(&mut named)).collect();
        let mut entries: Vec<Entry> = Vec::new();
        let mut unfinished = self.unfinished(drawn_at)?;
        let (at_once, together) = super::at_once(self.explainer, &self.settings)?;
        let memory = |image: &Result<(PhotoNames, PathBuf)>| {
            image.as_ref().map_or(0, |(_, image)| images::memory(image))
        };
        let groups = groups(images.into_iter(), together, memory);
        let work = |group: Vec<Result<(PhotoNames, PathBuf)>>, ended: &Ended| {
            let path = |image: &Result<(PhotoNames, PathBuf)>| Some(image.as_ref().ok()?.1.clone());
            let paths: Vec<Option<PathBuf>> = group.iter().map(path).collect();
            paths.into_iter().zip(self.some(group, &recipe, &results, ended)).collect::<Vec<_>>()
        };
        let ended = in_order(groups, at_once, work, |group| {
            for (image, result) in group {
                match result {
                    Ok(answered) => {
                        let entry = self.entry(answered, &results, &mut unfinished)?;
                        self.tell_change(&entry.input, earlier);
                        entries.push(entry);
                    }
                    Err(error) if super::would_come_again(&error) => return Err(error),
                    Err(error) => {
                        let error = images::named(error, &image);
                        self.terminal.error(&error);
                        let path = image.unwrap_or_default();
                        manifest.failed.push(Failed { image: path.into(), reason: format!("{error:#}") });
                    }
                }
                bar.inc(1);
            }
            Ok(())
        });
        bar.finish_and_clear();
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
        Results::begin(path, run)
    }

    /// Answers photos that pass the vision tower together, or finds the answers of before.
    fn some(
        &self,
        group: Vec<Result<(PhotoNames, PathBuf)>>,
        recipe: &Recipe,
        results: &Mutex<Results>,
        ended: &Ended,
    ) -> Vec<Result<Answered>> {
        let open = |image: Result<(PhotoNames, PathBuf)>| {
            let (names, image) = image?;
            self.open(&image, names, recipe, results)
        };
        let answer = |opened: &[Opened]| {
            let looks = self.explainer.look(opened.iter().map(|opened| &opened.photo), &self.settings);
            let compare = |mut looks: Looks| {
                ended.check()?;
                Ok(looks.compare(&recipe.prompts, &self.settings)?)
            };
            super::if_unchanged(self.explainer, looks.into_iter().map(compare).collect())
        };
        in_steps(group, ended, open, answer, |opened, compared| self.save(opened, compared))
    }

    /// Opens a photo, or finds its answer of before.
    fn open(
        &self,
        image: &Path,
        names: PhotoNames,
        recipe: &Recipe,
        results: &Mutex<Results>,
    ) -> Result<Opening<Opened, Answered>> {
        let start = Instant::now();
        let bytes = images::bytes(image, &recipe.photo_options())?;
        let input = Input {
            image: image.to_owned().into(),
            bytes: bytes.len() as u64,
            sha256: hashes::of_bytes(&bytes),
        };
        let thumbnails: Vec<String> = names.prompts.iter().map(|name| thumbnail(name)).collect();
        {
            let results = results.lock().unwrap_or_else(PoisonError::into_inner);
            let later = if self.drawing.waits { &PICTURES[..] } else { &[] };
            if let Some(entry) = results.known(&input, self.folder, &thumbnails, later)? {
                return Ok(Opening::Done(Answered::Before(entry)));
            }
        }
        let photo = Photo::from_bytes(image, &bytes, &recipe.photo_options())?;
        self.terminal.warn(photo.warnings());
        let seconds = start.elapsed().as_secs_f64();
        Ok(Opening::Open(Opened { input, names, photo, seconds }))
    }

    /// Writes a photo's files.
    fn save(&self, opened: &Opened, mut compared: Compare) -> Result<Answered> {
        let Opened { input, names, photo, seconds: open_seconds } = opened;
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
        report.seconds.load = self.load_seconds;
        // What the journal has is on the disk.
        [self.folder, &self.folder.join(THUMBNAILS)].into_iter().try_for_each(sync_folder)?;
        Ok(Answered::Now(input.clone(), Box::new(report)))
    }

    /// Tells of a photo and enters it into the journal, unless it is there.
    fn entry(
        &self,
        answered: Answered,
        results: &Mutex<Results>,
        unfinished: &mut Option<Unfinished>,
    ) -> Result<Entry> {
        let (input, report) = match answered {
            Answered::Before(entry) => {
                unfinished.iter_mut().for_each(Unfinished::add_known);
                return Ok(entry);
            }
            Answered::Now(input, report) => (input, *report),
        };
        match unfinished {
            Some(unfinished) => unfinished.add(&report)?,
            None if self.args.output.json => self.terminal.without_bars(|| output::json(&report))?,
            None => {}
        }
        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
        results.add(&input, &inside(report, self.folder))
    }

    /// The pictures that are drawn when all photos are answered, if there are any.
    fn unfinished(&self, drawn_at: Option<RunScale>) -> Result<Option<Unfinished<'_>>> {
        let kinds = self.kinds.iter().filter_map(|kind| kind.of_one_prompt());
        let kinds: Vec<_> = kinds.filter(|kind| kind.picture().is_some()).collect();
        if !self.drawing.waits || kinds.is_empty() {
            return Ok(None);
        }
        let (folder, bar) = (self.folder, self.drawing.bar);
        let later = Later { folder, kinds, bar, photo: self.photo_options };
        Unfinished::new(later, drawn_at, self.args.output.json, self.terminal).map(Some)
    }

    fn save_thumbnails(&self, photo: &Photo, compared: &mut Compare, names: &PhotoNames) -> Result<()> {
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
            summary: format!("{}, strength {}", recipe.model, recipe.strength),
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

/// The small picture of one prompt on one photo, relative to the run's folder.
fn thumbnail(name: &str) -> String {
    format!("{THUMBNAILS}/{name}.jpg")
}

/// The photos behind the paths of a recipe, each once.
fn distinct(paths: &[PathBuf], terminal: &Terminal) -> images::Photos {
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
