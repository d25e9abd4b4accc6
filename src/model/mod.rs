//! A checkpoint's files in, a model that can be asked out.

pub mod preprocess;
mod resample;
