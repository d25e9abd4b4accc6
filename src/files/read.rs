//! Files are read whole, within a bound.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Read`] if it cannot be read, is not a regular file (a named pipe could wait forever) or is larger.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() { "a directory" } else { "something else" };
            let reason = format!("expected a regular file, found {found}");
            return Err(io::Error::new(ErrorKind::InvalidInput, reason));
        }
        let too_large = |found: &dyn std::fmt::Display| {
            let reason = format!("expected at most {limit} bytes, found {found}");
            io::Error::new(ErrorKind::FileTooLarge, reason)
        };
        if metadata.len() > limit {
            return Err(too_large(&metadata.len()));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(metadata.len() as usize)
            .map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
        // The bound holds for a file that grows while it is read, too.
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(too_large(&"more")),
            false => Ok(bytes),
        }
    };
    read().map_err(|source| Error::Read { path: path.into(), source })
}
