//! The hash of a checkpoint: whether two results are of the same weights.
//!
//! It is the SHA-256 of a line for each of the checkpoint's files, by name: the name, a blank, the file's own SHA-256 in
//! hexadecimal digits, and a line feed. The files are those that the Hub's repository has for the checkpoint; of a local
//! directory, all with the endings of a checkpoint's files.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::file_state::FileState;
use crate::{
    digest::{Digest, Hasher, digest, hexadecimal},
    files::{prepare_folder, read_bounded, write_atomically},
    model::hub::ModelFiles,
};

/// What a checkpoint's directory may hold beside its files does not end so.
const ENDINGS: [&str; 9] = ["bin", "ckpt", "json", "model", "pt", "pth", "safetensors", "txt", "vocab"];
/// So many bytes are read without a second thought: it takes some 20 ms.
const FEW_BYTES: u64 = 32 << 20;
/// More are not read for a hash that nobody asked for: it would take seconds.
const MOST_BYTES: u64 = 4 << 30;
/// The start of what names a note; the number is that of this file's rules.
const MAGIC: &[u8] = b"fieldmark checkpoint hash 1";

/// The hash, from every byte of the files.
///
/// # Errors
/// If a file cannot be read.
pub(in crate::model) fn read(files: &ModelFiles) -> io::Result<String> {
    let hash = |(name, path): (String, PathBuf)| Ok((name, of_file(&path)?));
    Ok(combine(list(files)?.into_iter().map(hash).collect::<io::Result<_>>()?))
}

/// The hash as far as it costs no time that is felt. The large files of the Hub's cache count with the SHA-256 by which
/// the cache names them. What has to be read is read once, and `folder` remembers the hash for files of this path, size,
/// time and inode; without a folder, only small files are read.
pub(in crate::model) fn known(files: &ModelFiles, folder: Option<&Path>) -> Option<String> {
    let list = list(files).ok()?;
    let states: Vec<FileState> =
        list.iter().map(|(_, path)| FileState::of(path)).collect::<io::Result<_>>().ok()?;
    let unread = |state: &&FileState| hash_in_name(&state.path).is_none();
    let bytes: u64 = states.iter().filter(unread).map(|state| state.size).sum();
    let read = || {
        let hash = |((name, path), state): (&(String, PathBuf), &FileState)| {
            let hash = hash_in_name(&state.path).map_or_else(|| of_file(path), |hash| Ok(hash.to_owned()))?;
            Ok((name.clone(), hash))
        };
        Some(combine(list.iter().zip(&states).map(hash).collect::<io::Result<_>>().ok()?))
    };
    if bytes <= FEW_BYTES {
        return read();
    }
    let names: Vec<&str> = list.iter().map(|(name, _)| name.as_str()).collect();
    let note = Note::of(folder?, format!("{names:?} {states:?}").as_bytes());
    note.read().or_else(|| {
        let hash = (bytes <= MOST_BYTES).then(read)??;
        if states.iter().all(|state| state.is_settled() && state.is_current()) {
            // A folder that cannot be written to costs time at the next start, no more.
            let _ = note.write(&hash);
        }
        Some(hash)
    })
}

/// What a folder remembers of files in one state: the hash, and a checksum of both.
struct Note {
    path: PathBuf,
    identity: Digest,
}

impl Note {
    fn of(folder: &Path, states: &[u8]) -> Self {
        let identity = digest(&[MAGIC, states]);
        Self { path: folder.join(format!("{}.checkpoint", hexadecimal(&identity))), identity }
    }

    fn read(&self) -> Option<String> {
        let bytes = read_bounded(&self.path, 1 << 10).ok()?;
        let (hash, checksum) = bytes.split_last_chunk()?;
        let is_whole = *checksum == digest(&[&self.identity, hash]);
        is_whole.then(|| String::from_utf8(hash.to_vec()).ok())?
    }

    fn write(&self, hash: &str) -> crate::error::Result<()> {
        self.path.parent().map_or(Ok(()), prepare_folder)?;
        write_atomically(&self.path, |file| {
            file.write_all(hash.as_bytes())?;
            file.write_all(&digest(&[&self.identity, hash.as_bytes()]))
        })
    }
}

/// The files that count, with their names, by name.
fn list(files: &ModelFiles) -> io::Result<Vec<(String, PathBuf)>> {
    let mut list: Vec<(String, PathBuf)> =
        files.files.iter().map(|file| (file.name.clone(), file.path.clone())).collect();
    if list.is_empty() {
        for entry in std::fs::read_dir(&files.directory)? {
            let entry = entry?;
            let path = entry.path();
            let ending = path.extension();
            if ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) && path.is_file() {
                list.push((entry.file_name().to_string_lossy().into_owned(), path));
            }
        }
    }
    list.sort();
    Ok(list)
}

/// The SHA-256 that the Hub's cache has as the name of a large file; that of a small one is shorter, since it is git's.
fn hash_in_name(path: &Path) -> Option<&str> {
    let is_blob = path.parent()?.file_name()? == "blobs";
    let name = path.file_name()?.to_str()?;
    let is_hash = name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_blob && is_hash).then_some(name)
}

fn of_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hexadecimal(&hasher.finish())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn combine(files: Vec<(String, String)>) -> String {
    let mut hasher = Hasher::new();
    files.iter().for_each(|(name, hash)| hasher.update(format!("{name} {hash}\n").as_bytes()));
    hexadecimal(&hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hub::ModelFile;

    fn directory(path: &Path) -> ModelFiles {
        ModelFiles { directory: path.into(), commit: None, files: Vec::new() }
    }

    #[test]
    fn a_checkpoint_is_its_files_and_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let hash = || read(&directory(folder.path())).unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        // `printf '{}' | sha256sum`, and the same of `config.json`, a blank and that.
        let line = "config.json 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n";
        let mut hasher = Hasher::new();
        hasher.update(line.as_bytes());
        let first = hash();
        assert_eq!(first, hexadecimal(&hasher.finish()));
        assert_eq!(known(&directory(folder.path()), None), Some(first.clone()), "small files are read");
        std::fs::write(folder.path().join("README.md"), "words").unwrap();
        assert_eq!(hash(), first, "what no reader opens does not count");
        std::fs::write(folder.path().join("config.json"), "{ }").unwrap();
        assert_ne!(hash(), first);
        std::fs::remove_file(folder.path().join("config.json")).unwrap();
        std::fs::write(folder.path().join("other.json"), "{}").unwrap();
        assert_ne!(hash(), first, "the name counts");
    }

    #[test]
    fn large_files_are_read_once_and_only_if_that_can_be_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (model, cache) = (folder.path().join("model"), folder.path().join("cache"));
        std::fs::create_dir(&model).unwrap();
        let weights = model.join("model.safetensors");
        let change = |size: u64| {
            let file = File::create(&weights).unwrap();
            file.set_len(size).unwrap();
            // As if it had been so for long.
            file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
        };
        change(FEW_BYTES + 1);
        let files = directory(&model);
        assert_eq!(known(&files, None), None);
        let expected = read(&files).unwrap();
        assert_eq!(known(&files, Some(&cache)).as_deref(), Some(expected.as_str()));
        let notes: Vec<PathBuf> =
            std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(notes.len(), 1);
        // What is remembered is believed, but only while it is whole and the file is as it was.
        let identity = notes[0].file_stem().unwrap().to_str().unwrap();
        let identity: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&identity[2 * at..2 * at + 2], 16).unwrap()).collect();
        let note = [&b"remembered"[..], &digest(&[&identity, b"remembered"])].concat();
        std::fs::write(&notes[0], &note).unwrap();
        assert_eq!(known(&files, Some(&cache)).as_deref(), Some("remembered"));
        std::fs::write(&notes[0], &note[1..]).unwrap();
        assert_eq!(known(&files, Some(&cache)).as_deref(), Some(expected.as_str()));
        change(FEW_BYTES + 2);
        assert_eq!(known(&files, Some(&cache)), read(&files).ok());
    }

    #[test]
    fn the_names_in_the_hubs_cache_are_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs");
        std::fs::create_dir(&blobs).unwrap();
        let name = "0123456789abcdef".repeat(4);
        let path = blobs.join(&name);
        File::create(&path).unwrap().set_len(FEW_BYTES + 1).unwrap();
        let file = ModelFile { name: "model.safetensors".into(), path: path.clone(), size: FEW_BYTES + 1 };
        let files = ModelFiles { directory: folder.path().into(), commit: None, files: vec![file] };
        let expected = combine(vec![("model.safetensors".into(), name.clone())]);
        assert_eq!(known(&files, None), Some(expected));
        for other in ["0123", &name.to_uppercase(), &"x".repeat(64)] {
            assert_eq!(hash_in_name(&blobs.join(other)), None);
        }
        assert_eq!(hash_in_name(&folder.path().join("files").join(&name)), None);
    }
}
