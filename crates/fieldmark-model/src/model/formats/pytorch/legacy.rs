//! What `torch.save` wrote before PyTorch 1.6, and still writes on request: no archive, but five pickles one behind the
//! other (a magic number, the format's version, the machine's properties, the state dictionary, the keys of its
//! storages) and then the storages in the order of their keys, each behind the number of its numbers.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::{
    LARGEST_PROGRAM, MOST_STORAGES, Parts,
    dtypes::Numbers,
    pickle::{self, Made},
    storages::{Entry, Storages},
};

/// How a pickle begins, unless it is of protocol 0 or 1, which PyTorch never was.
pub(super) const FIRST_BYTE: u8 = 0x80;
/// What PyTorch puts into the first pickle, the lowest byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;
/// The bytes before each storage, which give the number of its numbers.
const LENGTH: u64 = 8;

/// Follows the pickles and finds the storages, each inside the file and of the size that the pickle gives.
pub(super) fn open(path: &Path) -> Result<Parts, String> {
    let broken = |reason: String| format!("not a whole PyTorch file: {reason}");
    let mut file = File::open(path).map_err(|error| broken(error.to_string()))?;
    let length = file.metadata().map_err(|error| broken(error.to_string()))?.len();
    let mut programs = Vec::new();
    let read = (&mut file).take(LARGEST_PROGRAM.min(length)).read_to_end(&mut programs);
    read.map_err(|error| broken(error.to_string()))?;

    let rest = header(&programs)?;
    let in_program = |reason: String| format!("state dictionary: {reason}");
    let (made, rest) = pickle::run(rest).map_err(in_program)?;
    let state = made.state().map_err(in_program)?;
    let (keys, rest) = pickle::run(rest).map_err(|reason| broken(format!("keys of storages: {reason}")))?;
    let keys = keys.texts().ok_or_else(|| broken("the keys of its storages are no list of texts".into()))?;
    let start = (programs.len() - rest.len()) as u64;
    let storages = Layout { file, length, known: &made.storages }.entries(&keys, start)?;
    Ok(Parts { state, storages: Storages::new(path, storages) })
}

/// Checks the three pickles before the state dictionary. Returns what follows them.
fn header(programs: &[u8]) -> Result<&[u8], String> {
    let in_header = |reason: String| format!("not a whole PyTorch file: header: {reason}");
    let run = |rest| -> Result<(Made, &[u8]), String> { pickle::run(rest).map_err(in_header) };
    let (_, rest) = run(programs)?;
    let first = &programs[..programs.len() - rest.len()];
    if !first.windows(MAGIC.len()).any(|bytes| bytes == MAGIC) {
        return Err("expected a file of torch.save, found another pickle".into());
    }
    let (version, rest) = run(rest)?;
    if version.integer() != Some(VERSION) {
        return Err(format!("expected version {VERSION} of PyTorch's format, found another"));
    }
    let (properties, rest) = run(rest)?;
    match properties.flag("little_endian") {
        Some(false) => Err("its numbers are not little-endian".into()),
        _ => Ok(rest),
    }
}

/// The part of a file that holds its storages.
struct Layout<'a> {
    file: File,
    length: u64,
    known: &'a BTreeMap<String, (&'static Numbers, u64)>,
}

impl Layout<'_> {
    fn entries(mut self, keys: &[&str], start: u64) -> Result<HashMap<String, Entry>, String> {
        if keys.len() > MOST_STORAGES {
            return Err(format!("expected at most {MOST_STORAGES} storages, found {}", keys.len()));
        }
        let mut entries = HashMap::new();
        let mut at = start;
        for key in keys {
            let entry = self.entry(key, at)?;
            at = entry.start + entry.size;
            if entries.insert((*key).to_owned(), entry).is_some() {
                return Err(format!("storage {key} comes twice"));
            }
        }
        Ok(entries)
    }

    fn entry(&mut self, key: &str, at: u64) -> Result<Entry, String> {
        let (numbers, expected) = *self
            .known
            .get(key)
            .ok_or_else(|| format!("storage {key} is of a type that is not known, and so is its size"))?;
        let mut count = [0; LENGTH as usize];
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut count));
        read.map_err(|error| format!("storage {key}: not a whole PyTorch file: {error}"))?;
        let found = u64::from_le_bytes(count);
        if found != expected {
            return Err(format!("storage {key}: expected {expected} numbers, found {found}"));
        }
        let start = at + LENGTH;
        let size = found.checked_mul(numbers.size as u64);
        match size.filter(|size| start.checked_add(*size).is_some_and(|end| end <= self.length)) {
            Some(size) => Ok(Entry { start, size }),
            None => Err(format!("storage {key}: its {found} numbers reach beyond the end of the file")),
        }
    }
}
