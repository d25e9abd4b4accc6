//! Files are read whole, within a bound; of NumPy's, those that are written here.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::pictures::npy_header;
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
        if bytes.len() as u64 > limit { Err(too_large(&"more")) } else { Ok(bytes) }
    };
    read().map_err(|source| Error::Read { path: path.into(), source })
}

/// Reads an array that [`save_npy`](super::save_npy) wrote: its values row by row, and its rows and columns.
///
/// # Errors
/// [`Error::Read`] if it cannot be read, is another array (of other numbers, dimensions or order), is cut short, or has
/// more than `most` values.
pub fn read_npy(path: &Path, most: usize) -> Result<(Vec<f32>, [usize; 2])> {
    // The header that is written is at most this long.
    const LONGEST_HEADER: u64 = 256;
    let bytes = read_bounded(path, (most as u64).saturating_mul(4).saturating_add(LONGEST_HEADER))?;
    npy_values(&bytes).ok_or_else(|| {
        let reason = "expected a .npy file of two dimensions, float32, row by row";
        Error::Read { path: path.into(), source: io::Error::new(ErrorKind::InvalidData, reason) }
    })
}

fn npy_values(bytes: &[u8]) -> Option<(Vec<f32>, [usize; 2])> {
    // The name may come once more in the numbers behind the header.
    let header = bytes.get(..128)?;
    let (_, shape) = header.split_at(header.windows(9).position(|part| part == b"'shape': ")?);
    let shape = std::str::from_utf8(shape).ok()?.strip_prefix("'shape': (")?;
    let (rows, columns) = shape.split_once(')')?.0.split_once(", ")?;
    let shape = [rows.parse().ok()?, columns.parse().ok()?];
    let data = bytes.strip_prefix(npy_header(shape).as_slice())?;
    let (values, []) = data.as_chunks::<4>() else { return None };
    let is_whole = shape[0].checked_mul(shape[1]) == Some(values.len());
    is_whole.then(|| (values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(), shape))
}

#[cfg(test)]
mod tests {
    use super::super::save_npy;
    use super::*;

    #[test]
    fn an_array_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        for shape in [[2, 3], [0, 7], [1, 1], [100, 100]] {
            let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| i as f32 - 2.5).collect();
            save_npy(&path, &values, shape).unwrap();
            assert_eq!(read_npy(&path, 10_000).unwrap(), (values, shape));
        }
        assert!(read_npy(&path, 9_000).is_err(), "it has more values");
    }

    #[test]
    fn rejects_what_is_no_such_array() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        save_npy(&path, &[1.0; 6], [2, 3]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&whole[..128]).into_owned();
        let with = |from: &str, to: &str| [text.replace(from, to).as_bytes(), &whole[128..]].concat();
        let cut = |length: usize| whole[..length].to_vec();
        let changed = [
            with("<f4", "<f8"),
            with("False", "True "),
            with("(2, 3)", "(3, 3)"),
            with("(2, 3)", "(6,)  "),
            with("(2, 3)", "(99999999999999999999, 3)"),
            with("(2, 3)", "(4611686018427387904, 4)"),
            [&whole[..], b"x"].concat(),
            [with("'shape'", "'sharp'"), b"'shape': (2, 3)".to_vec()].concat(),
            b"{}".to_vec(),
        ];
        for bytes in changed.into_iter().chain([0, 9, 60, 127, 128, whole.len() - 1].map(cut)) {
            std::fs::write(&path, &bytes).unwrap();
            let error = read_npy(&path, 100).unwrap_err().to_string();
            assert!(error.contains("map.npy"), "{error}");
        }
    }
}
