//! Standard error: notes, errors and progress. Bars only on a terminal.

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
    sync::{Mutex, PoisonError},
};

use fieldmark::progress::{Event, ProgressHandler, Warning};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::advice;

/// What is said to the user beside the results.
pub struct Terminal {
    quiet: bool,
    bars: bool,
    download: Mutex<Option<ProgressBar>>,
    said: Mutex<HashSet<String>>,
}

impl Terminal {
    pub fn new(quiet: bool) -> Self {
        let bars = !quiet && std::io::stderr().is_terminal();
        Self { quiet, bars, download: Mutex::default(), said: Mutex::default() }
    }

    /// Says what stopped the run, and what could be typed instead.
    pub fn error(&self, error: &anyhow::Error) {
        self.line(&format!("error: {}", chain(error)));
        if let Some(hint) = advice::hint(error) {
            self.line("");
            self.line(&format!("hint: {hint}"));
        }
    }

    /// Says that one input failed; the others go on.
    pub fn failed(&self, error: &anyhow::Error) {
        self.line(&format!("error: {}", chain(error)));
    }

    /// Says something that the user should know, once a run.
    pub fn note(&self, note: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.quiet && said.insert(note.to_owned()) {
            self.line(&format!("note: {note}"));
        }
    }

    pub fn warn(&self, warnings: &[Warning]) {
        warnings.iter().for_each(|warning| self.note(&warning.to_string()));
    }

    /// A bar for a number of photos; hidden where it would be in the way.
    pub fn photos(&self, count: usize) -> ProgressBar {
        let shown = self.bars && count > 1;
        let bar = ProgressBar::with_draw_target(Some(count as u64), target(shown));
        bar.with_style(style("{bar:30} {pos}/{len} photos, {eta} left  {msg}"))
    }

    /// Prints without breaking a bar. If standard error is closed there is nobody to tell.
    fn line(&self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    fn begin(&self, file: &str, total: Option<u64>, resumed: u64) {
        let bar = ProgressBar::with_draw_target(total, target(self.bars));
        let bar = bar.with_style(style("{msg}  {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left"));
        bar.set_message(file.to_owned());
        bar.set_position(resumed);
        bar.reset_eta();
        if !self.bars {
            let size = total.map(|total| format!(", {}", indicatif::HumanBytes(total))).unwrap_or_default();
            let rest = match resumed {
                0 => String::new(),
                _ => format!(", resumed at {}", indicatif::HumanBytes(resumed)),
            };
            self.note(&format!("fetching {file}{size}{rest}"));
        }
        *self.bar() = Some(bar);
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.download.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressHandler for Terminal {
    fn event(&self, event: Event) {
        match event {
            Event::DownloadStarted { file, total, resumed } => self.begin(&file, total, resumed),
            Event::DownloadAdvanced { bytes } => self.bar().iter().for_each(|bar| bar.inc(bytes)),
            Event::DownloadFinished => self.bar().take().iter().for_each(ProgressBar::finish),
            Event::Warning(warning) => self.note(&warning.to_string()),
            _ => {}
        }
    }
}

fn target(shown: bool) -> ProgressDrawTarget {
    if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// An error and its causes on one line.
fn chain(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ").replace(['\n', '\r'], " ")
}
