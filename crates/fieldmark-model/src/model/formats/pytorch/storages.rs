//! Where the numbers of a file lie, with every size checked against the file before memory is taken.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::StoredTensor;

/// The storages of one file.
pub(super) struct Storages {
    path: PathBuf,
    by_key: HashMap<String, Entry>,
}

/// A stretch of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Storages {
    /// Storages that lie inside the file.
    pub(super) fn new(path: &Path, by_key: HashMap<String, Entry>) -> Self {
        Self { path: path.into(), by_key }
    }

    /// Checks that a tensor lies inside its storage.
    pub(super) fn check(&self, tensor: &StoredTensor) -> Result<(), String> {
        let entry = self.entry(tensor)?;
        let numbers = entry.size / tensor.numbers.size as u64;
        match tensor.extent() {
            Some((count, end)) if count as u64 <= numbers && end as u64 <= numbers => Ok(()),
            _ => Err(format!("lies outside its storage of {} bytes", entry.size)),
        }
    }

    /// The bytes of a tensor that was checked, the last axis fastest.
    pub(super) fn read(&self, tensor: &StoredTensor) -> Result<Vec<u8>, String> {
        self.check(tensor)?;
        let entry = self.entry(tensor)?;
        let width = tensor.numbers.size;
        let (count, end) = tensor.extent().unwrap_or_default();
        if count == 0 {
            return Ok(Vec::new());
        }
        let first = entry.start + (tensor.offset * width) as u64;
        let stretch = |numbers: usize| Entry { start: first, size: (numbers * width) as u64 };
        if tensor.is_contiguous() {
            return bytes(&self.path, stretch(count));
        }
        let span = bytes(&self.path, stretch(end - tensor.offset))?;
        Ok(gathered(&span, tensor, count))
    }

    fn entry(&self, tensor: &StoredTensor) -> Result<Entry, String> {
        let entry = self.by_key.get(&tensor.storage).copied();
        entry.ok_or_else(|| format!("its storage data/{} is not in the archive", tensor.storage))
    }
}

/// Reads a stretch that lies inside the file.
pub(super) fn bytes(path: &Path, Entry { start, size }: Entry) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; size as usize];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| format!("cannot be read: {error}"))
}

/// The numbers of a tensor whose axes are in another order, copied one by one.
fn gathered(span: &[u8], tensor: &StoredTensor, count: usize) -> Vec<u8> {
    let width = tensor.numbers.size;
    let mut output = Vec::with_capacity(count * width);
    let mut index = vec![0; tensor.shape.len()];
    for _ in 0..count {
        let at: usize = index.iter().zip(&tensor.strides).map(|(i, stride)| i * stride).sum();
        output.extend_from_slice(&span[at * width..(at + 1) * width]);
        for (axis, size) in tensor.shape.iter().enumerate().rev() {
            index[axis] += 1;
            if index[axis] < *size {
                break;
            }
            index[axis] = 0;
        }
    }
    output
}
