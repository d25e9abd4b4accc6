//! A batch whose pictures share the scale of the run: what is kept of its photos until all are answered, and the end, at
//! which the pictures are drawn.
//!
//! A run that was killed has drawn some pictures, or none. They are drawn again unless the manifest says that they have
//! the scale which the run has now; the manifest says so only when all of them are drawn.

use anyhow::Result;
use fieldmark::{
    Error,
    report::Comparison,
    run::{EachAlone, Entry, Failed, Later, Outcome, RunScale, Runner, Waiting, memory},
};

use crate::{later::Lines, output, terminal::Terminal};

/// The kinds of files that have a scale, by their names in the results.
pub const PICTURES: [&str; 3] = ["overlay", "layer", "heatmap"];

/// The pictures of a batch that are drawn when all of its photos are answered.
pub struct Unfinished<'a> {
    later: Later<'a>,
    /// The scale of the pictures that are there, if all of them have one.
    drawn_at: Option<RunScale>,
    /// Whether each photo was answered by this run.
    is_new: Vec<bool>,
    /// The records of those that were; none if they are not to be printed.
    lines: Option<Lines>,
    terminal: &'a Terminal,
}

/// A photo, whether this run answered it, and its pictures that wait, if it has any.
type Item = (bool, Option<Waiting>, Entry);

impl<'a> Unfinished<'a> {
    pub fn new(
        later: Later<'a>,
        drawn_at: Option<RunScale>,
        is_json: bool,
        terminal: &'a Terminal,
    ) -> Result<Self> {
        let lines = is_json.then(Lines::new).transpose()?;
        Ok(Self { later, drawn_at, is_new: Vec::new(), lines, terminal })
    }

    /// Adds a photo that an earlier run answered.
    pub fn add_known(&mut self) {
        self.is_new.push(false);
    }

    /// Adds a photo that this run answered.
    pub fn add(&mut self, report: &Comparison) -> Result<()> {
        self.is_new.push(true);
        self.lines.as_mut().map_or(Ok(()), |lines| lines.push(report))
    }

    /// Draws the pictures of the photos that were added, and prints the records. Photos that cannot be drawn are taken
    /// out of `entries`, and returned with the scale.
    pub fn draw(self, entries: &mut Vec<Entry>) -> Result<(RunScale, Vec<Failed>)> {
        let Self { later, drawn_at, is_new, lines, terminal } = self;
        let waiting: Vec<_> = entries.iter().map(Entry::waiting).collect();
        let scale = later.scale(waiting.iter().flatten());
        let has_scale = drawn_at == Some(scale);
        let draw = |(is_new, waiting, entry): &Item| match waiting {
            Some(waiting) if !is_new && has_scale && later.are_drawn(waiting) => Ok(()),
            Some(waiting) => later.draw(waiting, scale),
            None => {
                let (path, reason) = (entry.input.image.path(), "its maps are not saved".into());
                Err(Error::Run { path, reason })
            }
        };
        let items: Vec<Item> = is_new
            .into_iter()
            .zip(waiting.into_iter().zip(entries.drain(..)))
            .map(|(is_new, (waiting, entry))| (is_new, waiting, entry))
            .collect();
        let mut lines = lines.map(|lines| lines.read(scale)).transpose()?;
        let needed = |item: &Item| item.1.as_ref().map_or(0, |waiting| memory(&waiting.image));
        let runner = Runner::new().expecting(items.len()).with_progress(terminal);
        let mut failed = Vec::new();
        runner.run(
            items.into_iter().map(Ok),
            &EachAlone::new(needed, draw),
            |Outcome { input, result, .. }| {
                let Some((is_new, _, entry)) = input else { return Ok(()) };
                let line = lines.as_mut().filter(|_| is_new).and_then(Iterator::next).transpose()?;
                match result {
                    Ok(()) => {
                        line.map_or(Ok(()), |line| terminal.without_bars(|| output::text(&line)))?;
                        entries.push(entry);
                    }
                    Err(error) => {
                        let error = error.into();
                        terminal.error(&error);
                        failed.push(Failed {
                            image: entry.input.image,
                            reason: crate::terminal::chain(&error),
                        });
                    }
                }
                Ok::<_, anyhow::Error>(())
            },
        )?;
        Ok((scale, failed))
    }
}
