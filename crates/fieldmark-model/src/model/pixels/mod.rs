//! Photos become pixels of the model's input, resized as Pillow resizes them.

pub mod preprocess;

pub(crate) mod resample;
