//! MAP: what the model saw becomes a signed map of evidence on the grid of patches.

mod map;

pub use map::ConceptMap;
