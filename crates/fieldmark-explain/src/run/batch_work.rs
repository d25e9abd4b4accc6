//! What a batch does with each photo: it is opened, compared with all prompts, and its files are written.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::{
    Batch, ComparisonFiles, Ended, Entry, FileKind, Input, Open, Opening, PhotoNames, Results, Work, memory,
};
use crate::{
    explain::{Compare, PhotoSession},
    page,
    report::Comparison,
};
use fieldmark_model::{
    error::Result,
    files::{sync_folder, write_atomically},
    photo::{Photo, read},
    progress::Warning,
};

/// Where the small pictures are, inside the run's folder.
pub(super) const THUMBNAILS: &str = "thumbnails";

/// The kinds of files that have a scale, by their names in the results.
const PICTURES: [&str; 3] = ["overlay", "layer", "heatmap"];

/// A photo's file, and the names of its results.
pub(super) struct Named {
    pub(super) names: PhotoNames,
    pub(super) path: PathBuf,
}

/// A photo that is to be answered, and the seconds that opening it took.
pub(super) struct Opened {
    input: Input,
    photo: Photo,
    seconds: f64,
}

/// A photo whose files are written.
pub(super) enum Answered {
    /// By an earlier run.
    Before(Entry),
    /// By this run.
    Now { input: Input, report: Box<Comparison>, warnings: Vec<Warning>, inside: Inside },
}

/// The run's folder: records in the journal have their files relative to it, so that it can be moved.
pub(super) struct Inside(PathBuf);

impl Inside {
    pub(super) fn of(&self, mut report: Comparison) -> Comparison {
        let of_prompts = report.prompts.iter_mut().flat_map(|prompt| prompt.files.values_mut());
        for path in report.files.values_mut().chain(of_prompts) {
            if let Ok(relative) = path.strip_prefix(&self.0) {
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                *path = parts.join("/").into();
            }
        }
        report
    }
}

/// What the run does with each photo.
pub(super) struct Answering<'r> {
    batch: &'r Batch<'r>,
    folder: &'r Path,
    results: &'r Mutex<Results>,
    kinds: Vec<FileKind>,
}

impl<'r> Answering<'r> {
    pub(super) fn new(batch: &'r Batch<'r>, folder: &'r Path, results: &'r Mutex<Results>) -> Result<Self> {
        Ok(Self { batch, folder, results, kinds: batch.manifest.recipe.kinds()? })
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
}

impl Work for Answering<'_> {
    type Input = Named;
    type Opened = Opened;
    type Answer = Compare;
    type Output = Answered;

    fn memory(&self, photo: &Named) -> u64 {
        memory(&photo.path)
    }

    /// Opens a photo, or finds its answer of before.
    fn open(&self, Named { names, path }: &Named) -> Result<Opening<Opened, Answered>> {
        let start = Instant::now();
        let recipe = &self.batch.manifest.recipe;
        let options = recipe.photo_options();
        // Its bytes are read once: what is hashed and what is decoded is the same.
        let bytes = read(path, &options)?;
        let input = Input::new(path, &bytes);
        let thumbnails: Vec<String> = names.prompts.iter().map(|name| thumbnail(name)).collect();
        {
            let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            let later = if recipe.drawing().waits { &PICTURES[..] } else { &[] };
            if let Some(entry) = results.known(&input, self.folder, &thumbnails, later)? {
                return Ok(Opening::Known(Answered::Before(entry)));
            }
        }
        let photo = Photo::from_bytes(path, &bytes, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Opening::Photo(Opened { input, photo, seconds }))
    }

    fn answer(&self, opened: &[Open<'_, Named, Opened>], ended: &Ended) -> Vec<Result<Compare>> {
        let Batch { explainer, manifest, .. } = self.batch;
        let settings = &manifest.recipe.settings;
        let sessions = explainer.sessions(opened.iter().map(|open| &open.photo.photo), settings);
        let compare = |mut session: PhotoSession| {
            ended.check()?;
            let compared = session.compare(&manifest.recipe.prompts, settings)?;
            // Answers are of one checkpoint: it did not change meanwhile.
            explainer.model().check_unchanged()?;
            Ok(compared)
        };
        sessions.into_iter().map(compare).collect()
    }

    /// Writes a photo's files.
    fn finish(&self, open: &Open<'_, Named, Opened>, mut compared: Compare) -> Result<Answered> {
        let (names, Opened { input, photo, seconds }) = (&open.input.names, &open.photo);
        let start = Instant::now();
        let files = ComparisonFiles {
            folder: self.folder,
            names,
            photo,
            options: &self.batch.options,
            drawing: self.batch.manifest.recipe.drawing(),
        };
        files.save(&self.kinds, &mut compared)?;
        self.save_thumbnails(photo, &mut compared, names)?;
        let mut report = compared.report;
        report.seconds.render = start.elapsed().as_secs_f64();
        report.seconds.decode += seconds;
        // What the journal has is on the disk.
        [self.folder, &self.folder.join(THUMBNAILS)].into_iter().try_for_each(sync_folder)?;
        let warnings = photo.warnings().iter().cloned().chain(compared.warnings).collect();
        let inside = Inside(self.folder.to_owned());
        Ok(Answered::Now { input: input.clone(), report: Box::new(report), warnings, inside })
    }
}

/// The small picture of one prompt on one photo, relative to the run's folder.
fn thumbnail(name: &str) -> String {
    format!("{THUMBNAILS}/{name}.jpg")
}
