//! The entries of a zip archive that `torch.save` wrote.

use std::{collections::HashMap, fs::File, path::Path};

use zip::{CompressionMethod, ZipArchive};

use super::{
    LARGEST_PROGRAM, MOST_STORAGES, Parts, pickle,
    storages::{Entry, Storages, bytes},
};
use crate::guard::guarded;

/// Follows the archive's program and lists its storages, each of them stored as it is and inside the file.
pub(super) fn open(path: &Path) -> Result<Parts, String> {
    let entries = guarded(|| entries(path)).unwrap_or_else(|panic| Err(broken(&panic)))?;
    let program = entries.keys().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let Some(program) = program.cloned() else {
        return Err("expected an archive of torch.save, found no data.pkl in it".into());
    };
    let root = &program[..program.len() - "data.pkl".len()];
    if entries.contains_key(&format!("{root}constants.pkl")) {
        return Err("is a TorchScript archive, which holds a program; expected a state dictionary".into());
    }
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && bytes(path, Entry { size: order.size.min(16), ..*order })? != b"little"
    {
        return Err("its numbers are not little-endian".into());
    }
    let in_program = |reason: String| format!("data.pkl: {reason}");
    let (made, _) = pickle::run(&read_program(path, entries[&program])?).map_err(in_program)?;
    let state = made.state().map_err(in_program)?;
    let folder = format!("{root}data/");
    let storages = entries.iter().filter_map(|(name, entry)| Some((name.strip_prefix(&folder)?, entry)));
    let storages = storages.map(|(name, entry)| (name.to_owned(), *entry)).collect();
    Ok(Parts { state, storages: Storages::new(path, storages) })
}

fn read_program(path: &Path, entry: Entry) -> Result<Vec<u8>, String> {
    if entry.size > LARGEST_PROGRAM {
        return Err(format!("data.pkl: expected at most {LARGEST_PROGRAM} bytes, found {}", entry.size));
    }
    bytes(path, entry)
}

fn broken(error: &dyn std::fmt::Display) -> String {
    format!("not a whole PyTorch file: {error}")
}

fn entries(path: &Path) -> Result<HashMap<String, Entry>, String> {
    let file = File::open(path).map_err(|error| broken(&error))?;
    let length = file.metadata().map_err(|error| broken(&error))?.len();
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(|error| broken(&error))?;
    if archive.len() > MOST_STORAGES {
        return Err(format!("expected at most {MOST_STORAGES} entries, found {}", archive.len()));
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
