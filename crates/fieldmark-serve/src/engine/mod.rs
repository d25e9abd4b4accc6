//! Photos that are kept with their passes, and the workers that answer questions about them. Nothing here knows HTTP.

mod answers;
mod fault;
mod hidden;
mod shelf;
mod tasks;

pub(crate) use answers::{Answer, lossless, picture, thumbnail};
pub(crate) use fault::Fault;
pub(crate) use hidden::Hidden;
pub(crate) use shelf::{Entry, Listed, PhotoInfo};
pub(crate) use tasks::Tasks;

use fieldmark_explain::Explainer;
use fieldmark_model::photo::PhotoOptions;

use crate::options::ServeOptions;
use shelf::Shelf;

/// What workers share.
pub(crate) struct Engine<'m> {
    pub(crate) explainer: &'m Explainer,
    pub(crate) photo: PhotoOptions,
    pub(crate) shelf: Shelf<'m>,
}

impl<'m> Engine<'m> {
    pub(crate) fn new(explainer: &'m Explainer, options: &ServeOptions) -> Self {
        let shelf = Shelf::new(options.memory, options.photos.clone());
        Self { explainer, photo: options.photo, shelf }
    }
}
