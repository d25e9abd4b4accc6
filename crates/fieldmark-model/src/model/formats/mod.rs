//! A checkpoint's files become one description of the model and its tensors by name, whichever library wrote them.

pub mod config;
pub mod weights;

pub(crate) mod differences;
pub(crate) mod lfs;
pub(crate) mod names;
pub(crate) mod parts;
pub(crate) mod prefixes;
pub(crate) mod pytorch;
pub(crate) mod read;
pub(crate) mod tensor_file;
pub(crate) mod weight_file;

pub(crate) use read::{read_config_file, read_text_file};
