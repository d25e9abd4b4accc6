//! Standard error: notes, errors and progress. Bars only on a terminal.

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fieldmark::progress::{Event, ProgressHandler, Warning};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{advice, output::shown};

/// What is said to the user beside the results. Clones speak with one voice.
#[derive(Clone)]
pub struct Terminal {
    quiet: bool,
    /// Whether bars can be seen.
    draws: bool,
    bars: MultiProgress,
    download: Arc<Mutex<Option<ProgressBar>>>,
    passes: Arc<Mutex<Option<ProgressBar>>>,
    photos: Arc<Mutex<Option<ProgressBar>>>,
    said: Arc<Mutex<HashSet<String>>>,
}

impl Terminal {
    pub fn new(quiet: bool) -> Self {
        let draws = !quiet && std::io::stderr().is_terminal();
        let target = if draws { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let (download, passes, photos) = Default::default();
        Self { quiet, draws, bars, download, passes, photos, said: Arc::default() }
    }

    /// Says what went wrong, and what could be typed instead. Where several inputs fail alike, the advice is
    /// given once.
    pub fn error(&self, error: &anyhow::Error) {
        self.line(&format!("error: {}", chain(error)));
        if let Some(hint) = advice::hint(error).filter(|hint| self.is_new(hint)) {
            self.line(&format!("hint: {hint}"));
        }
    }

    /// Says something that the user should know, once a run.
    pub fn note(&self, note: &str) {
        if !self.quiet && self.is_new(note) {
            self.line(&format!("note: {note}"));
        }
    }

    pub fn warn(&self, warnings: &[Warning]) {
        warnings.iter().for_each(|warning| self.note(&warning.to_string()));
    }

    /// Does something that prints while the bars are out of the way.
    pub fn without_bars<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// A message is lost if standard error is closed.
    fn line(&self, line: &str) {
        let line = shown(line);
        let _ = self.without_bars(|| writeln!(std::io::stderr().lock(), "{line}"));
    }

    fn is_new(&self, said: &str) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(said.to_owned())
    }

    fn begin(&self, file: &str, total: Option<u64>, resumed: u64) {
        if !self.draws {
            let size = total.map(|total| format!(", {}", bytes(total))).unwrap_or_default();
            let rest = if resumed == 0 { String::new() } else { format!(", resumed at {}", bytes(resumed)) };
            return self.note(&format!("fetching {file}{size}{rest}"));
        }
        let template = match total {
            Some(_) => {
                "{prefix}  {wide_bar}  {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left"
            }
            None => "{prefix}  {decimal_bytes}  {decimal_bytes_per_sec}",
        };
        // The whole name would leave no room for the bar.
        let name = file.splitn(3, '/').last().unwrap_or(file);
        let bar = ProgressBar::no_length().with_style(style(template)).with_prefix(shown(name));
        bar.set_message(shown(file));
        if let Some(total) = total {
            bar.set_length(total);
        }
        // The speed counts only what this run fetches.
        let bar = self.bars.add(bar.with_position(resumed));
        bar.reset_eta();
        if let Some(unfinished) = self.bar().replace(bar) {
            unfinished.finish_and_clear();
        }
    }

    /// Replaces the bar by a line that stays.
    fn end(&self) {
        let Some(bar) = self.bar().take() else { return };
        bar.finish_and_clear();
        self.line(&format!("fetched {}, {}", bar.message(), bytes(bar.position())));
    }

    fn bar(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.download.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bar of one photo's passes through the model, replaced by another or by none.
    fn begin_passes(&self, passes: Option<usize>) {
        let bar = passes.map(|passes| {
            let bar = self.bars.add(ProgressBar::new(passes as u64));
            bar.with_style(style("{bar:30} {pos}/{len} passes, {eta} left"))
        });
        if let Some(done) = std::mem::replace(&mut *self.passes(), bar) {
            done.finish_and_clear();
        }
    }

    /// The bar of a run's photos, where there are several.
    fn begin_photos(&self, photos: Option<usize>) {
        let bar = photos.filter(|photos| *photos > 1).map(|photos| {
            let bar = self.bars.add(ProgressBar::new(photos as u64));
            bar.with_style(style("{bar:30} {pos}/{len} photos, {eta} left"))
        });
        if let Some(done) = std::mem::replace(&mut *self.photos(), bar) {
            done.finish_and_clear();
        }
    }

    fn photos(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.photos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passes(&self) -> MutexGuard<'_, Option<ProgressBar>> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressHandler for Terminal {
    fn event(&self, event: Event) {
        match event {
            Event::DownloadStarted { file, total, resumed } => self.begin(&file, total, resumed),
            Event::DownloadAdvanced { bytes } => self.bar().iter().for_each(|bar| bar.inc(bytes)),
            Event::DownloadFinished => self.end(),
            Event::PassesStarted { passes } => self.begin_passes(Some(passes)),
            Event::PassesAdvanced { passes } => self.passes().iter().for_each(|bar| bar.inc(passes as u64)),
            Event::PassesFinished => self.begin_passes(None),
            Event::PhotosStarted { photos } => self.begin_photos(photos),
            Event::PhotosAdvanced { photos } => self.photos().iter().for_each(|bar| bar.inc(photos as u64)),
            Event::PhotosFinished => self.begin_photos(None),
            Event::Warning(warning) => self.note(&warning.to_string()),
            _ => {}
        }
    }
}

/// A number of bytes for people, in the units that the Hub shows.
pub fn bytes(count: u64) -> String {
    indicatif::DecimalBytes(count).to_string()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// An error and its causes on one line; a cause that the message before ends with is not repeated.
pub fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.replace(['\n', '\r'], " ")
}
