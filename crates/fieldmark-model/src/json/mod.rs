//! JSON from files of others: read as Python writes it, and field by field, with errors that name the field.

mod object;
mod python;

pub use object::{ConfigFile, Object, Origin, TokenizerFile};
pub(crate) use object::{parse_object, read_object};
pub use python::{parse, parse_with_nulls, shown, text};
