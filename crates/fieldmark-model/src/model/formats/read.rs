//! The text files of a checkpoint, read within bounds.

use std::path::Path;

use super::lfs;
use crate::{error::Result, files::read_bounded};

/// A tokenizer file larger than this is refused: the largest real ones have some 35 MB.
const LARGEST_TEXT_FILE: u64 = 128 << 20;
/// A configuration larger than this is refused: real ones have some 10 kB, and JSON takes many times its size when it
/// is read.
const LARGEST_CONFIG: u64 = 1 << 20;

/// Reads a configuration of a checkpoint.
pub(crate) fn read_config_file(path: &Path) -> Result<Vec<u8>> {
    read_file(path, LARGEST_CONFIG)
}

/// Reads a tokenizer or another text file of a checkpoint.
pub(crate) fn read_text_file(path: &Path) -> Result<Vec<u8>> {
    read_file(path, LARGEST_TEXT_FILE)
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let bytes = read_bounded(path, limit)?;
    lfs::refuse_pointer_in(&bytes, path)?;
    Ok(bytes)
}
