//! The entries of a zip archive that `torch.save` wrote, with every size checked against the file before memory is
//! taken.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, ZipArchive};

use super::StoredTensor;

/// The largest pickle that is followed: those of real checkpoints, optimizer included, have some 300 kB.
const LARGEST_PROGRAM: u64 = 16 << 20;
/// The most entries that are looked at; a checkpoint has one for each tensor.
const MOST_ENTRIES: usize = 1 << 16;

/// Where the parts of an archive lie in its file.
pub(super) struct Archive {
    path: PathBuf,
    program: Entry,
    /// By the name under `data/`.
    storages: HashMap<String, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: u64,
    size: u64,
}

impl Archive {
    /// Lists the entries, each of them stored as it is and inside the file.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let entries = entries(path)?;
        let program = entries.keys().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
        let Some(program) = program.cloned() else {
            return Err("expected an archive of torch.save, found no data.pkl in it".into());
        };
        let root = &program[..program.len() - "data.pkl".len()];
        if entries.contains_key(&format!("{root}constants.pkl")) {
            return Err("is a TorchScript archive, which holds a program; expected a state dictionary".into());
        }
        let folder = format!("{root}data/");
        let storages = entries.iter().filter_map(|(name, entry)| Some((name.strip_prefix(&folder)?, entry)));
        let storages = storages.map(|(name, entry)| (name.to_owned(), *entry)).collect();
        let archive = Self { path: path.into(), program: entries[&program], storages };
        if let Some(order) = entries.get(&format!("{root}byteorder"))
            && archive.bytes(order.start, order.size.min(16))? != b"little"
        {
            return Err("its numbers are not little-endian".into());
        }
        Ok(archive)
    }

    /// The bytes of `data.pkl`.
    pub(super) fn program(&self) -> Result<Vec<u8>, String> {
        if self.program.size > LARGEST_PROGRAM {
            let size = self.program.size;
            return Err(format!("data.pkl: expected at most {LARGEST_PROGRAM} bytes, found {size}"));
        }
        self.bytes(self.program.start, self.program.size)
    }

    /// Checks that a tensor lies inside its storage.
    pub(super) fn check(&self, tensor: &StoredTensor) -> Result<(), String> {
        let entry = self.entry(tensor)?;
        // What holds no weights is never read; its numbers have at least a byte each.
        let width = tensor.dtype.map_or(1, |dtype| dtype.size_in_bytes()) as u64;
        let numbers = entry.size / width;
        match tensor.extent() {
            Some((count, end)) if count as u64 <= numbers && end as u64 <= numbers => Ok(()),
            _ => Err(format!("lies outside its storage of {} bytes", entry.size)),
        }
    }

    /// The bytes of a tensor that was checked, the last axis fastest.
    pub(super) fn read(&self, tensor: &StoredTensor) -> Result<Vec<u8>, String> {
        self.check(tensor)?;
        let entry = self.entry(tensor)?;
        let width = tensor.dtype.map_or(1, |dtype| dtype.size_in_bytes());
        let (count, end) = tensor.extent().unwrap_or_default();
        let first = entry.start + (tensor.offset * width) as u64;
        if tensor.is_contiguous() {
            return self.bytes(first, (count * width) as u64);
        }
        let span = self.bytes(first, ((end - tensor.offset) * width) as u64)?;
        Ok(gathered(&span, tensor, count, width))
    }

    fn entry(&self, tensor: &StoredTensor) -> Result<Entry, String> {
        let entry = self.storages.get(&tensor.storage).copied();
        entry.ok_or_else(|| format!("its storage data/{} is not in the archive", tensor.storage))
    }

    fn bytes(&self, start: u64, size: u64) -> Result<Vec<u8>, String> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = vec![0; size as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| format!("cannot be read: {error}"))
    }
}

/// The numbers of a tensor whose axes are in another order, copied one by one.
fn gathered(span: &[u8], tensor: &StoredTensor, count: usize, width: usize) -> Vec<u8> {
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

fn entries(path: &Path) -> Result<HashMap<String, Entry>, String> {
    let broken = |error: &dyn std::fmt::Display| format!("not a whole PyTorch file: {error}");
    let file = File::open(path).map_err(|error| broken(&error))?;
    let length = file.metadata().map_err(|error| broken(&error))?.len();
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| broken(&error))?;
    if archive.len() > MOST_ENTRIES {
        return Err(format!("expected at most {MOST_ENTRIES} entries, found {}", archive.len()));
    }
    let mut entries = HashMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?.into_owned();
        let start = entry.data_start().ok_or_else(|| broken(&"an entry has no place"))?;
        let stored = entry.compression() == CompressionMethod::Stored && !entry.encrypted();
        if !stored || entry.size() != entry.compressed_size() {
            return Err(format!("entry {name}: expected it to be stored as it is, found it compressed"));
        }
        if start.checked_add(entry.size()).is_none_or(|end| end > length) {
            return Err(format!("entry {name}: its {} bytes reach beyond the end of the file", entry.size()));
        }
        entries.insert(name, Entry { start, size: entry.size() });
    }
    Ok(entries)
}
