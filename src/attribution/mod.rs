//! MAP: what the model saw becomes a signed map of evidence on the grid of patches.

mod map;
pub(crate) mod resample;

pub use map::ConceptMap;
