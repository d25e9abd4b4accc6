//! JSON of foreign files.

mod python;

pub(crate) use python::{parse, shown, text};
