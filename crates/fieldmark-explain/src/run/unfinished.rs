//! A batch whose pictures share the scale of the run: what is kept of its photos until all are answered, and the end, at
//! which the pictures are drawn.
//!
//! A run that was killed has drawn some pictures, or none. They are drawn again unless the manifest says that they have
//! the scale which the run has now; the manifest says so only when all of them are drawn.

use super::{
    AT_ONCE, BatchEvent, EachAlone, Entry, Failed, Later, Outcome, RunScale, Runner, Waiting, memory, reason,
};
use fieldmark_model::error::Error;

/// The pictures of a batch that are drawn when all of its photos are answered.
pub(super) struct Unfinished<'a> {
    pub(super) later: Later<'a>,
    /// The scale of the pictures that are there, if all of them have one.
    pub(super) drawn_at: Option<RunScale>,
    /// Whether each photo was answered by this run.
    pub(super) is_new: Vec<bool>,
}

/// A photo, whether this run answered it, and its pictures that wait, if it has any.
type Item = (bool, Option<Waiting>, Entry);

impl Unfinished<'_> {
    /// Draws the pictures of the photos. Photos that cannot be drawn are taken out of `entries`, and returned with the
    /// scale.
    pub(super) fn draw<E: From<Error>>(
        self,
        entries: &mut Vec<Entry>,
        runner: &Runner,
        hear: &mut impl FnMut(BatchEvent) -> Result<(), E>,
    ) -> Result<(RunScale, Vec<Failed>), E> {
        let Self { later, drawn_at, is_new } = self;
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
        let needed = |item: &Item| item.1.as_ref().map_or(0, |waiting| memory(&waiting.image));
        let runner = runner.clone().at_once(AT_ONCE).together(1).expecting(items.len());
        let mut failed = Vec::new();
        let drawing = EachAlone::new(needed, draw);
        runner.run(items.into_iter().map(Ok), &drawing, |Outcome { input, result, .. }| {
            let Some((is_new, _, entry)) = input else { return Ok(()) };
            match result {
                Ok(()) => {
                    entries.push(entry);
                    hear(BatchEvent::Drawn { is_new, scale, error: None })
                }
                Err(error) => {
                    failed.push(Failed { image: entry.input.image, reason: reason(&error, None) });
                    hear(BatchEvent::Drawn { is_new, scale, error: Some(error) })
                }
            }
        })?;
        Ok((scale, failed))
    }
}
