//! Text embeddings that outlive the program: a folder of files, so that a second run with the same texts needs no text
//! tower.
//!
//! An embedding is known by the checkpoint's content, tokenizer included, and the text as it is phrased, so that a text
//! that is known needs no tokenizer either. A text that is longer than the model reads is known by the ids of the tokens
//! that are left of it: only who splits it can warn. Embeddings are float32 for all types of weights and all devices.
//!
//! ```text
//! <fingerprint>.checkpoint   the content that files of this path, size, time and inode had: 32 bytes, checksum
//! <content>.texts            header, then records of one size: key of the text, values, checksum
//! ```
//!
//! The content is SHA-256 over the text tower's configuration and tensors, the tokenizer's files and the program's
//! version, which stands for what turns a text into tokens. To read them takes as long as to load the
//! tower, so it is done once and remembered under what the file system says of the files; anything that changes a file
//! changes that. Checksums find damage, and cover the content and the text, so a record that is not whole or belongs
//! elsewhere counts as not there. They are no protection from somebody who may write to the folder.
//!
//! A file is appended to under a lock and read without one: at worst a reader sees a record that is not whole yet.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use super::file_state::FileState;
use crate::{
    digest::{Digest, digest, hexadecimal},
    error::{Error, Result},
    files::{Output, prepare_folder, read_bounded, uninterrupted, write_atomically},
    model::{Model, formats::read_text_file, text::tokenizer::Tokens},
};

/// The start of every file of embeddings. The number is that of the layout and of everything that turns texts into
/// embeddings: whoever changes either counts it up.
const MAGIC: &[u8; 32] = b"fieldmark text embeddings 2     ";
/// A newer program may clean and split texts in another way.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const HEADER: usize = MAGIC.len() + size_of::<u32>();
const DIGEST: usize = size_of::<Digest>();
/// The most bytes of embeddings that are kept of one checkpoint; some 15 000 texts for 512 numbers each.
const LARGEST_FILE: usize = 32 << 20;
/// The most bytes that the folder may have.
const LARGEST_FOLDER: u64 = 256 << 20;
/// Every file counts for whole blocks, as on most file systems.
const BLOCK: u64 = 4096;

/// The texts of one checkpoint that were embedded before.
pub struct TextCache {
    path: PathBuf,
    /// The checkpoint's files as they were when it was opened.
    files: Vec<FileState>,
    content: Digest,
    /// Numbers in an embedding.
    width: usize,
    /// The file as it was at opening.
    records: Vec<u8>,
    /// Where in it the record of a text begins.
    places: HashMap<Digest, usize>,
}

impl TextCache {
    /// Opens what a folder knows of a checkpoint, and makes the folder if it is missing. `None` for the checkpoint
    /// that ships: its text tower is small, and its content changes with the program.
    ///
    /// # Errors
    /// [`Error::Write`] if the folder cannot be made or written to, [`Error::Weights`] or [`Error::Read`] if the
    /// checkpoint cannot be read.
    pub fn open(folder: &Path, model: &Model) -> Result<Option<Self>> {
        let weights = model.weights().files();
        if weights.is_empty() {
            return Ok(None);
        }
        prepare_folder(folder)?;
        let tokenizer = states(model.tokenizer()?.files())?;
        let files = [weights, &tokenizer].concat();
        let content = content(folder, model, &files, &tokenizer)?;
        let path = folder.join(format!("{}.texts", hexadecimal(&content)));
        let (width, records, places) = (model.config().embedding, Vec::new(), HashMap::new());
        let mut cache = Self { path, files, content, width, records, places };
        cache.read();
        Ok(Some(cache))
    }

    /// Reads the file. What cannot be read is not there; adding to it starts anew, or fails with a reason.
    fn read(&mut self) {
        let bytes = read_bounded(&self.path, LARGEST_FILE as u64).unwrap_or_default();
        let size = self.record_size();
        if bytes.starts_with(&self.header()) {
            let records = bytes[HEADER..].chunks_exact(size).enumerate();
            let place =
                |(index, record): (usize, &[u8])| Some((*record.first_chunk()?, HEADER + index * size));
            self.places = records.filter_map(place).collect();
            self.records = bytes;
        }
    }

    /// The embedding of a text, if it was kept and is whole.
    pub fn find(&self, text: &str) -> Option<Vec<f32>> {
        self.find_record(&key(text))
    }

    /// The embedding of a text that was cut off, if it was kept and is whole.
    pub fn find_cut(&self, text: &Tokens) -> Option<Vec<f32>> {
        self.find_record(&key_of_cut(text))
    }

    fn find_record(&self, key: &Digest) -> Option<Vec<f32>> {
        let place = *self.places.get(key)?;
        let record = self.records.get(place..place + self.record_size())?;
        let (kept, checksum) = record.split_last_chunk::<DIGEST>()?;
        let values = kept.get(DIGEST..)?;
        if *checksum != digest(&[&self.content, kept]) {
            return None;
        }
        let values: Vec<f32> =
            values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let length = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        ((length - 1.0).abs() < 1e-3).then_some(values)
    }

    /// Keeps the embeddings of texts. Where another process is writing at the moment, or the checkpoint's files have
    /// changed since they were opened, nothing is kept.
    ///
    /// # Errors
    /// [`Error::Write`] if the file cannot be written.
    pub fn add(&self, texts: &[(&str, &Tokens, Vec<f32>)]) -> Result<()> {
        if !self.files.iter().all(FileState::is_current) {
            return Ok(());
        }
        let record = |(text, tokens, values): &(&str, &Tokens, Vec<f32>)| match tokens.truncated {
            None => self.record(&key(text), values),
            Some(_) => self.record(&key_of_cut(tokens), values),
        };
        let records: Vec<u8> = texts.iter().flat_map(record).collect();
        self.append(&records).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        make_room(self.path.parent().unwrap_or(Path::new(".")), &self.path);
        Ok(())
    }

    fn record(&self, key: &Digest, values: &[f32]) -> Vec<u8> {
        let mut record = key.to_vec();
        record.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        record.extend(digest(&[&self.content, &record]));
        record
    }

    fn append(&self, new: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file"));
        }
        if file.try_lock().is_err() {
            return Ok(());
        }
        let length = file.metadata()?.len();
        let begun = self.starts_with_header(&mut file)?;
        if !begun || length + new.len() as u64 > LARGEST_FILE as u64 {
            return self.begin_anew(new);
        }
        // What an interrupted run left behind the last whole record would put all that follow out of step.
        let torn = (length - HEADER as u64) % self.record_size() as u64;
        file.set_len(length - torn)?;
        uninterrupted(|| file.write_all(new))
    }

    /// Writes a new file, with the newer half of what was there at opening.
    fn begin_anew(&self, new: &[u8]) -> io::Result<()> {
        let half = LARGEST_FILE / 2 / self.record_size();
        let newest = |bytes: &[u8]| -> Vec<u8> {
            let records = bytes.chunks_exact(self.record_size());
            let skipped = records.len().saturating_sub(half);
            records.skip(skipped).flatten().copied().collect()
        };
        let old = newest(self.records.get(HEADER..).unwrap_or_default());
        let parts = [&self.header()[..], &old, &newest(new)];
        let write = |out: &mut Output| parts.iter().try_for_each(|part| out.write_all(part));
        write_atomically(&self.path, write).map_err(|error| match error {
            Error::Write { source, .. } => source,
            other => io::Error::other(other),
        })
    }

    fn starts_with_header(&self, file: &mut File) -> io::Result<bool> {
        let mut start = Vec::new();
        file.take(HEADER as u64).read_to_end(&mut start)?;
        Ok(start == self.header())
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let (magic, width) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        width.copy_from_slice(&(self.width as u32).to_le_bytes());
        header
    }

    fn record_size(&self) -> usize {
        DIGEST + size_of::<f32>() * self.width + DIGEST
    }
}

fn states(files: Vec<PathBuf>) -> Result<Vec<FileState>> {
    let state = |path: PathBuf| FileState::of(&path).map_err(|source| Error::Read { path, source });
    files.into_iter().map(state).collect()
}

/// What the checkpoint's text tower and tokenizer are, from the folder's memory or by reading them; `tokenizer`: those
/// of its files that are the tokenizer's.
fn content(folder: &Path, model: &Model, files: &[FileState], tokenizer: &[FileState]) -> Result<Digest> {
    let config = model.config();
    let text = config.text.as_ref().ok_or(Error::NoTextTower)?;
    let program = format!("{} {:?} {} {:?}", VERSION, text, config.embedding, config.names);
    let identity = digest(&[MAGIC, program.as_bytes(), format!("{files:?}").as_bytes()]);
    let note = folder.join(format!("{}.checkpoint", hexadecimal(&identity)));
    let noted = read_bounded(&note, 2 * DIGEST as u64).unwrap_or_default();
    if let Some((content, checksum)) = noted.split_first_chunk::<DIGEST>()
        && *checksum == digest(&[&identity, content])
    {
        return Ok(*content);
    }
    let content =
        digest(&[MAGIC, program.as_bytes(), &model.weights().text_digest()?, &digest_of(tokenizer)?]);
    if files.iter().all(|file| file.is_settled() && file.is_current()) {
        write_atomically(&note, |file| {
            file.write_all(&content)?;
            file.write_all(&digest(&[&identity, &content]))
        })?;
    }
    Ok(content)
}

/// Removes the files that were not written to for the longest time, until the rest fits. One that cannot be removed
/// is left.
fn make_room(folder: &Path, newest: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter_map(|entry| {
        let path = entry.path();
        let known = path.extension().is_some_and(|ending| ending == "texts" || ending == "checkpoint");
        let metadata =
            entry.metadata().ok().filter(|metadata| known && metadata.is_file() && path != newest)?;
        Some((metadata.modified().ok()?, metadata.len().next_multiple_of(BLOCK), path))
    });
    let mut files: Vec<_> = ours.collect();
    files.sort();
    let mut size = LARGEST_FILE as u64 + files.iter().map(|(_, size, _)| size).sum::<u64>();
    for (_, freed, path) in files {
        if size <= LARGEST_FOLDER {
            break;
        }
        if std::fs::remove_file(path).is_ok() {
            size -= freed;
        }
    }
}

/// The hash of some files, names included.
fn digest_of(files: &[FileState]) -> Result<Digest> {
    let mut parts = Vec::new();
    for FileState { path, .. } in files {
        parts.push(path.file_name().unwrap_or_default().as_encoded_bytes().to_vec());
        parts.push(read_text_file(path)?);
    }
    Ok(digest(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

/// The name of a text's record.
fn key(text: &str) -> Digest {
    digest(&[text.as_bytes()])
}

/// The name of the record of a text that was cut off.
fn key_of_cut(text: &Tokens) -> Digest {
    let ids: Vec<u8> = text.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    digest(&[&(text.end as u64).to_le_bytes(), &ids])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use tempfile::TempDir;

    use super::*;
    use crate::progress::Warning;

    /// A checkpoint of its own, and a folder for what is known of its texts.
    struct Bench {
        folder: TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("model")).unwrap();
            let fixture =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models/tiny-quick-gelu");
            for entry in std::fs::read_dir(fixture).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, folder.path().join("model").join(path.file_name().unwrap())).unwrap();
            }
            Self { folder }
        }

        fn weights(&self) -> PathBuf {
            self.folder.path().join("model/model.safetensors")
        }

        fn model(&self) -> Model {
            Model::open(&self.folder.path().join("model"), Device::Cpu).unwrap()
        }

        fn cache(&self) -> TextCache {
            self.cache_of(&self.model())
        }

        fn cache_of(&self, model: &Model) -> TextCache {
            TextCache::open(&self.folder.path().join("cache"), model).unwrap().unwrap()
        }

        /// The files of the cache with this ending.
        fn files(&self, ending: &str) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(self.folder.path().join("cache")).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
        }

        /// Makes the checkpoint look as if it had not changed for an hour.
        fn settle(&self) {
            for entry in std::fs::read_dir(self.folder.path().join("model")).unwrap() {
                let file = File::options().write(true).open(entry.unwrap().path()).unwrap();
                file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600))
                    .unwrap();
            }
        }
    }

    fn text(id: u32) -> String {
        format!("text {id}")
    }

    fn tokens(id: u32) -> Tokens {
        Tokens { ids: vec![1, id, 2], end: 2, truncated: None }
    }

    /// A unit vector of the fixture's 24 numbers.
    fn vector(place: usize) -> Vec<f32> {
        (0..24).map(|index| if index == place { 1.0 } else { 0.0 }).collect()
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let bench = Bench::new();
        bench
            .cache()
            .add(&[(text(5).as_str(), &tokens(5), vector(0)), (text(6).as_str(), &tokens(6), vector(1))])
            .unwrap();
        bench.cache().add(&[(text(7).as_str(), &tokens(7), vector(2))]).unwrap();
        let cache = bench.cache();
        assert_eq!([5, 6, 7].map(|id| cache.find(&text(id))), [0, 1, 2].map(|place| Some(vector(place))));
        assert_eq!(cache.find(&text(8)), None);
    }

    #[test]
    fn a_text_that_was_cut_off_is_known_by_its_exact_tokens() {
        let bench = Bench::new();
        let warning = Warning::PromptTruncated { prompt: text(5), tokens: 9, context: 3 };
        let cut = Tokens { truncated: Some(warning), ..tokens(5) };
        bench.cache().add(&[(text(5).as_str(), &cut, vector(0))]).unwrap();
        let cache = bench.cache();
        assert_eq!(cache.find(&text(5)), None);
        assert_eq!(cache.find_cut(&cut), Some(vector(0)));
        assert_eq!(cache.find_cut(&Tokens { end: 1, ..cut.clone() }), None);
        assert_eq!(cache.find_cut(&Tokens { ids: vec![1, 5, 2, 0], ..cut }), None);
    }

    #[test]
    fn a_checkpoint_with_another_tokenizer_knows_nothing() {
        let bench = Bench::new();
        bench.cache().add(&[(&*text(5), &tokens(5), vector(0))]).unwrap();
        let path = bench.folder.path().join("model/merges.txt");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        assert_eq!(bench.cache().find(&text(5)), None);
        std::fs::write(&path, whole).unwrap();
        assert_eq!(bench.cache().find(&text(5)), Some(vector(0)));
    }

    #[test]
    fn a_checkpoint_with_other_text_weights_knows_nothing() {
        let bench = Bench::new();
        bench.settle();
        bench.cache().add(&[(text(5).as_str(), &tokens(5), vector(0))]).unwrap();
        assert_eq!(bench.files("checkpoint").len(), 1, "its content is remembered");
        let mut bytes = std::fs::read(bench.weights()).unwrap();
        let tensors = TensorPlace::read(&bytes);
        // One bit of a text tensor, at the same size and time.
        bytes[tensors.of("text_projection.weight")] ^= 1;
        std::fs::write(bench.weights(), &bytes).unwrap();
        bench.settle();
        assert_eq!(bench.cache().find(&text(5)), None);
        bytes[tensors.of("text_projection.weight")] ^= 1;
        // The vision tower has no part in it.
        bytes[tensors.of("visual_projection.weight")] ^= 1;
        std::fs::write(bench.weights(), &bytes).unwrap();
        assert_eq!(bench.cache().find(&text(5)), Some(vector(0)));
    }

    /// Where tensors begin in a safetensors file.
    struct TensorPlace(serde_json::Value, usize);

    impl TensorPlace {
        fn read(bytes: &[u8]) -> Self {
            let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
            Self(serde_json::from_slice(&bytes[8..8 + length]).unwrap(), 8 + length)
        }

        fn of(&self, name: &str) -> usize {
            self.1 + self.0[name]["data_offsets"][0].as_u64().unwrap() as usize
        }
    }

    #[test]
    fn nothing_is_kept_of_a_checkpoint_that_changed_while_it_was_open() {
        let bench = Bench::new();
        bench.settle();
        let cache = bench.cache();
        let bytes = std::fs::read(bench.weights()).unwrap();
        std::fs::write(bench.weights(), bytes).unwrap();
        cache.add(&[(text(5).as_str(), &tokens(5), vector(0))]).unwrap();
        assert!(bench.files("texts").is_empty());
    }

    #[test]
    fn the_content_of_a_file_that_just_changed_is_not_remembered() {
        let bench = Bench::new();
        bench.cache();
        assert!(bench.files("checkpoint").is_empty());
    }

    #[test]
    fn damage_of_any_byte_is_seen() {
        let bench = Bench::new();
        bench.settle();
        let model = bench.model();
        bench
            .cache_of(&model)
            .add(&[(text(5).as_str(), &tokens(5), vector(0)), (text(6).as_str(), &tokens(6), vector(1))])
            .unwrap();
        let path = bench.files("texts").remove(0);
        let whole = std::fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            let cache = bench.cache_of(&model);
            let found = [5, 6].map(|id| cache.find(&text(id)));
            let second = HEADER + DIGEST + 24 * 4 + DIGEST;
            assert_eq!(found[0].is_none(), place < second, "byte {place}");
            assert_eq!(found[1].is_none(), place < HEADER || place >= second, "byte {place}");
        }
    }

    #[test]
    fn what_is_cut_off_is_embedded_again_and_what_follows_is_in_step() {
        let bench = Bench::new();
        bench
            .cache()
            .add(&[(text(5).as_str(), &tokens(5), vector(0)), (text(6).as_str(), &tokens(6), vector(1))])
            .unwrap();
        let path = bench.files("texts").remove(0);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        let cache = bench.cache();
        assert_eq!((cache.find(&text(5)), cache.find(&text(6))), (Some(vector(0)), None));
        cache.add(&[(text(6).as_str(), &tokens(6), vector(1))]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        // A file of something else is replaced.
        std::fs::write(&path, "something else").unwrap();
        bench.cache().add(&[(text(6).as_str(), &tokens(6), vector(1))]).unwrap();
        assert_eq!(bench.cache().find(&text(6)), Some(vector(1)));
    }

    #[test]
    fn records_of_another_checkpoint_and_vectors_that_are_none_are_not_believed() {
        let bench = Bench::new();
        let cache = bench.cache();
        let other = TextCache { content: [7; DIGEST], ..bench.cache() };
        other.add(&[(text(5).as_str(), &tokens(5), vector(0))]).unwrap();
        cache
            .add(&[
                (text(6).as_str(), &tokens(6), vec![f32::NAN; 24]),
                (text(7).as_str(), &tokens(7), vec![0.0; 24]),
            ])
            .unwrap();
        assert_eq!([5, 6, 7].map(|id| bench.cache().find(&text(id))), [None, None, None]);
    }

    #[test]
    fn a_file_that_would_grow_too_large_keeps_its_newer_half() {
        let bench = Bench::new();
        let cache = bench.cache();
        let size = cache.record_size();
        let most = LARGEST_FILE / size;
        let many = |from: usize, count: usize| -> Vec<u8> {
            (from..from + count)
                .flat_map(|id| cache.record(&key(&text(id as u32)), &vector(id % 24)))
                .collect()
        };
        cache.append(&many(0, most - 10)).unwrap();
        let cache = bench.cache();
        cache.append(&many(most, 100)).unwrap();
        let length = std::fs::metadata(&cache.path).unwrap().len() as usize;
        assert!(length <= LARGEST_FILE && (length - HEADER).is_multiple_of(size));
        let cache = bench.cache();
        let found = [0, most - 11, most, most + 99].map(|id| cache.find(&text(id as u32)).is_some());
        assert_eq!(found, [false, true, true, true]);
    }

    #[test]
    fn writers_at_once_leave_whole_records() {
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let cache = bench.cache();
                scope.spawn(move || {
                    for id in 0..20 {
                        cache
                            .add(&[(
                                text(100 * writer + id).as_str(),
                                &tokens(100 * writer + id),
                                vector(id as usize),
                            )])
                            .unwrap();
                    }
                });
            }
        });
        let cache = bench.cache();
        let length = std::fs::metadata(&cache.path).unwrap().len() as usize;
        assert!((length - HEADER).is_multiple_of(cache.record_size()));
        // A writer that finds another at work keeps nothing, so not all need be there; but those that are, are whole.
        let found = (0..400).filter(|id| cache.find(&text(*id)).is_some()).count();
        assert_eq!(found, cache.places.len());
        assert!(found > 0);
    }

    #[test]
    fn the_oldest_files_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let newest = folder.path().join("newest.texts");
        for (name, minutes) in [("a.texts", 1), ("b.texts", 3), ("c.checkpoint", 4), ("d.other", 9)] {
            let file = File::create(folder.path().join(name)).unwrap();
            // Holes: the size counts, the disk is not filled.
            file.set_len(LARGEST_FOLDER / 2 - 1).unwrap();
            let age = std::time::Duration::from_secs(60 * minutes);
            file.set_modified(std::time::SystemTime::now() - age).unwrap();
        }
        std::fs::write(&newest, "").unwrap();
        make_room(folder.path(), &newest);
        let left = ["a.texts", "b.texts", "c.checkpoint", "d.other", "newest.texts"];
        assert_eq!(left.map(|name| folder.path().join(name).exists()), [true, false, false, true, true]);
    }

    #[test]
    fn the_checkpoint_that_ships_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let model = crate::model::miniature::open(Device::Cpu).unwrap();
        assert!(TextCache::open(folder.path(), &model).unwrap().is_none());
    }
}
