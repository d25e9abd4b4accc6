//! A list of prompts on many photos, with a page of all results. It can be interrupted at any moment and resumed, and made
//! again from its manifest.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{
    Described, Entry, Failed, Later, Manifest, Outcome, PhotoNames, Photos, Reading, Recipe, Results,
    RunFolder, RunScale, Runner,
    batch_work::{Answered, Answering, Named, THUMBNAILS},
    reason, save_text,
    unfinished::Unfinished,
};
use crate::{
    explain::{Explainer, Query},
    page::{self, Gallery, PageOptions},
    report::Comparison,
};
use fieldmark_model::{
    error::{Error, Result},
    files::Names,
    folder::Skipped,
    progress::Warning,
};

/// What happens in a batch, for those who print it.
#[derive(Debug)]
#[non_exhaustive]
pub enum BatchEvent<'e> {
    /// What the user should know of the run's folder, or of an earlier run.
    Note(&'e str),
    /// The results in the folder are replaced.
    Replaced,
    /// What the folders hold beside photos.
    Skipped(Skipped),
    /// What the user should know of the photo that is answered next.
    Warnings(&'e [Warning]),
    /// A photo was answered by an earlier run.
    Known,
    /// A photo is answered, and its files are written, but for pictures that wait for the scale of the run.
    Answered(&'e Comparison),
    /// A photo could not be answered.
    Failed {
        /// Its file; none if it is a folder that cannot be read.
        photo: Option<&'e Path>,
        /// What is wrong with it.
        error: Error,
    },
    /// The pictures of a photo that waited are drawn, or cannot be.
    Drawn {
        /// Whether this run answered it.
        is_new: bool,
        /// The scale of the run.
        scale: RunScale,
        /// What is wrong with it, if it could not be drawn.
        error: Option<Error>,
    },
}

/// How a batch begins in its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Results that are there are replaced.
    Anew,
    /// Photos that are done with the same settings are kept.
    Resumed,
}

/// What a batch gave.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchDone {
    /// The photos that are done, in their order.
    pub entries: Vec<Entry>,
    /// How many could not be done.
    pub failed: usize,
    /// The page of all results.
    pub page: PathBuf,
}

/// A batch that can be run.
pub struct Batch<'a> {
    pub(super) explainer: &'a Explainer,
    pub(super) manifest: Manifest,
    earlier: Option<Manifest>,
    pub(super) options: PageOptions,
    load_seconds: f64,
}

impl<'a> Batch<'a> {
    /// Checks a recipe before any photo is opened. The method of its settings becomes the checkpoint's own choice, if
    /// there is none.
    ///
    /// # Errors
    /// If a setting, prompt or kind of file cannot be used.
    pub fn new(explainer: &'a Explainer, mut recipe: Recipe) -> Result<Self> {
        recipe.kinds()?;
        recipe.settings.method = Some(explainer.method(&recipe.settings)?.name().to_owned());
        let Some((first, others)) = recipe.prompts.split_first() else {
            let reason = "expected at least one, found none".into();
            return Err(Error::Option { option: "prompts", reason });
        };
        explainer.check(&Query::new(first).against(others.iter()).with(recipe.settings.clone()))?;
        let options = PageOptions::default()
            .target(0)
            .strength(recipe.strength_in_reports)
            .templates(recipe.templates())
            .model_hash(None);
        let manifest = Manifest::new(recipe, explainer.model(), None);
        Ok(Self { explainer, manifest, earlier: None, options, load_seconds: 0.0 })
    }

    /// The hash of the checkpoint's files, which pages and the manifest record.
    #[must_use]
    pub fn with_model_hash(mut self, hash: Option<String>) -> Self {
        self.options = self.options.model_hash(hash.clone());
        self.manifest.model_sha256 = hash;
        self
    }

    /// The run that this one repeats: what is not the same is noted.
    #[must_use]
    pub fn repeating(mut self, earlier: Option<Manifest>) -> Self {
        self.earlier = earlier;
        self
    }

    /// The seconds that loading the checkpoint took, which results record.
    #[must_use]
    pub fn with_load_seconds(mut self, seconds: f64) -> Self {
        self.load_seconds = seconds;
        self
    }

    /// Whether pictures wait for the scale of the run.
    pub fn waits(&self) -> bool {
        let recipe = &self.manifest.recipe;
        recipe.drawing().waits && recipe.kinds().is_ok_and(|kinds| kinds.iter().any(|kind| kind.has_scale()))
    }

    /// Answers all photos in a folder of the run's own, and writes the page and the manifest. `hear` gets what happens, in
    /// the photos' order.
    ///
    /// # Errors
    /// The first error of `hear`; as [`Runner::run`]; and if the folder has a run of other settings, or a file cannot be
    /// written. Then what is done stays done.
    pub fn run<E: From<Error>>(
        &self,
        folder: &mut RunFolder,
        start: Start,
        runner: &Runner,
        mut hear: impl FnMut(BatchEvent) -> Result<(), E>,
    ) -> Result<BatchDone, E> {
        folder.prepare_inner(THUMBNAILS)?;
        let folder = folder.path();
        self.differences().iter().try_for_each(|note| hear(BatchEvent::Note(note)))?;
        let resumed = self.resumed(folder, start, &mut hear)?;
        let results = Mutex::new(self.results(folder, (start, resumed.is_some()), &mut hear)?);
        let Photos { files, skipped } = distinct(&self.manifest.recipe.images());
        hear(BatchEvent::Skipped(skipped))?;
        let mut manifest = Manifest { skipped, ..self.manifest.clone() };
        // Only now: a run that ends here leaves no new description beside old results.
        manifest.write(&folder.join("run.json"))?;
        let mut unfinished = self.unfinished(folder, resumed.and_then(|old| old.scale));
        let answering = Answering::new(self, folder, &results)?;
        let mut entries = Vec::new();
        let mut names = Names::new();
        let prompts = &self.manifest.recipe.prompts;
        let mut named = |path: PathBuf| Named { names: PhotoNames::new(&mut names, &path, prompts), path };
        let runner = runner.clone().expecting(files.len());
        let photos = files.into_iter().map(|photo| photo.map(&mut named));
        runner.run(photos, &answering, |outcome| {
            self.take(outcome, &results, (&mut entries, &mut manifest.failed), &mut unfinished, &mut hear)
        })?;
        if let Some(unfinished) = unfinished {
            let (scale, failed) = unfinished.draw(&mut entries, &runner, &mut hear)?;
            manifest.scale = Some(scale);
            manifest.failed.extend(failed);
        }
        results.into_inner().unwrap_or_else(PoisonError::into_inner).finish(&entries)?;
        Ok(finish(manifest, entries, folder)?)
    }

    /// A run that is made again may meet another program or checkpoint: then its results may be others.
    fn differences(&self) -> Vec<String> {
        let (new, Some(earlier)) = (&self.manifest, &self.earlier) else { return Vec::new() };
        let mut notes = Vec::new();
        if new.fieldmark != earlier.fieldmark {
            let (earlier, new) = (&earlier.fieldmark, &new.fieldmark);
            notes.push(format!("the run was made by fieldmark {earlier}, this is {new}"));
        }
        if new.model_sha256 != earlier.model_sha256 {
            notes.push(format!("{}: the checkpoint is not the one of the run", new.recipe.model));
        }
        notes
    }

    /// The description of the run that this one goes on with, if there is one.
    fn resumed<E: From<Error>>(
        &self,
        folder: &Path,
        start: Start,
        hear: &mut impl FnMut(BatchEvent) -> Result<(), E>,
    ) -> Result<Option<Manifest>, E> {
        let path = folder.join("run.json");
        match if start == Start::Resumed { Manifest::described(&path)? } else { Described::Missing } {
            Described::Whole(old) => {
                self.manifest.check_continues(&old, &path)?;
                Ok(Some(old))
            }
            Described::Damaged(note) => hear(BatchEvent::Note(&note)).map(|()| None),
            Described::Missing => Ok(None),
        }
    }

    /// The journal, whose lines bear the run's name.
    fn results<E: From<Error>>(
        &self,
        folder: &Path,
        (start, described): (Start, bool),
        hear: &mut impl FnMut(BatchEvent) -> Result<(), E>,
    ) -> Result<Results, E> {
        let (path, run) = (folder.join("results.jsonl"), self.manifest.run_name()?);
        if start == Start::Resumed {
            let results = Results::resume(&path, Reading { run: &run, described })?;
            results.left_out().iter().try_for_each(|note| hear(BatchEvent::Note(note)))?;
            return Ok(results);
        }
        if !Results::is_empty(&path) {
            hear(BatchEvent::Replaced)?;
        }
        Ok(Results::begin(&path, &run)?)
    }

    /// The pictures that are drawn when all photos are answered, if there are any.
    fn unfinished<'f>(&self, folder: &'f Path, drawn_at: Option<RunScale>) -> Option<Unfinished<'f>> {
        let recipe = &self.manifest.recipe;
        let mut kinds = recipe.kinds().unwrap_or_default();
        kinds.retain(|kind| kind.has_scale());
        let later = Later { folder, kinds, bar: recipe.bar, photo: recipe.photo_options() };
        self.waits().then(|| Unfinished { later, drawn_at, is_new: Vec::new() })
    }

    /// Enters a photo into the journal, unless it is there.
    fn take<E: From<Error>>(
        &self,
        Outcome { input, result, seconds }: Outcome<Named, Answered>,
        results: &Mutex<Results>,
        (entries, failed): (&mut Vec<Entry>, &mut Vec<Failed>),
        unfinished: &mut Option<Unfinished>,
        hear: &mut impl FnMut(BatchEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let photo = input.as_ref().map(|photo| photo.path.as_path());
        let answered = match result {
            Ok(answered) => answered,
            Err(error) => {
                let reason = reason(&error, photo);
                hear(BatchEvent::Failed { photo, error })?;
                let image = photo.unwrap_or(Path::new("")).to_owned().into();
                failed.push(Failed { image, reason });
                return Ok(());
            }
        };
        let is_new = matches!(answered, Answered::Now { .. });
        unfinished.iter_mut().for_each(|unfinished| unfinished.is_new.push(is_new));
        let entry = match answered {
            Answered::Before(entry) => {
                hear(BatchEvent::Known)?;
                entry
            }
            Answered::Now { input, mut report, warnings, inside } => {
                hear(BatchEvent::Warnings(&warnings))?;
                report.seconds = report.seconds.adding_up_to(seconds);
                report.seconds.load = self.load_seconds;
                hear(BatchEvent::Answered(&report))?;
                results.lock().unwrap_or_else(PoisonError::into_inner).add(&input, &inside.of(*report))?
            }
        };
        self.compare_with_earlier(&entry, hear)?;
        entries.push(entry);
        Ok(())
    }

    /// Notes a photo that changed since the run that is made again.
    fn compare_with_earlier<E>(
        &self,
        entry: &Entry,
        hear: &mut impl FnMut(BatchEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let inputs = self.earlier.iter().flat_map(|run| &run.inputs);
        let before = inputs.into_iter().find(|known| known.image == entry.input.image);
        if before.is_none_or(|before| *before == entry.input) {
            return Ok(());
        }
        let photo = entry.input.image.path();
        hear(BatchEvent::Note(&format!("{}: the photo is not the one of the run", photo.display())))
    }
}

/// Writes what is about all photos: the page first, then the manifest.
fn finish(mut manifest: Manifest, entries: Vec<Entry>, folder: &Path) -> Result<BatchDone> {
    let page = folder.join("index.html");
    let recipe = &manifest.recipe;
    let gallery = Gallery {
        summary: format!("{}, strength {}", recipe.model, recipe.settings.strength.get()),
        settings: recipe.rows(),
        prompts: recipe.prompts.clone(),
        shots: entries.iter().map(Entry::shot).collect(),
        failed: manifest.failed.iter().map(|failed| failed.reason.clone()).collect(),
    };
    save_text(&page, &page::gallery(&gallery)?)?;
    manifest.inputs = entries.iter().map(|entry| entry.input.clone()).collect();
    manifest.outputs = entries.iter().flat_map(Entry::files).cloned().collect();
    manifest.outputs.extend(["index.html", "results.jsonl"].map(str::to_owned));
    manifest.write(&folder.join("run.json"))?;
    Ok(BatchDone { entries, failed: manifest.failed.len(), page })
}

/// The photos behind the paths of a recipe, each once.
fn distinct(paths: &[PathBuf]) -> Photos {
    let mut seen = HashSet::new();
    let mut photos = Photos::of(paths);
    photos.files.retain(|photo| photo.as_ref().map_or(true, |photo| seen.insert(photo.clone())));
    photos
}
