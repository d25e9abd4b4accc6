//! Turns a repository's name and revision into the files that the shared Hugging Face cache holds of it. Reads
//! only; the layout is that of Python's huggingface_hub:
//!
//! ```text
//! models--org--name/refs/<revision>             the commit that a branch or tag stood for
//! models--org--name/blobs/<etag>                contents
//! models--org--name/snapshots/<commit>/<file>   relative links to the blobs, or plain files without links
//! models--org--name/.no_exist/<commit>/<file>   an empty file for every name known not to be in the commit
//! .locks/models--org--name/<etag>.lock          held while a blob is written
//! blobs/<ab>/<hash of Xet>                      contents that all repositories share: a blob is a link to them
//! ```

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::selection::{self, CONFIG, KNOWN, Selection, is_known, without_foreign};
use super::{Cached, DEFAULT_REVISION, ModelFile, ModelFiles};
use crate::error::{Error, Result};
use crate::model::formats::config::is_foreign;

/// The largest known index has some 100 kB.
const MAX_INDEX: u64 = 16 << 20;

/// The part of the cache that belongs to one repository.
#[derive(Debug)]
pub(super) struct RepoCache {
    pub(super) root: PathBuf,
}

/// What the cache holds of a checkpoint.
pub(super) enum Lookup {
    /// Everything.
    Complete(ModelFiles),
    /// Everything that every checkpoint has; but the cache does not say whether the repository also has this
    /// optional file.
    Doubtful(ModelFiles, String),
    /// Not this file, which is needed.
    Missing(String),
}

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &str) -> Self {
        let folder = format!("models--{}", repo.replace('/', "--"));
        RepoCache { root: cache.join(folder) }
    }

    /// Where a file of a commit is, or would be.
    pub(super) fn pointer(&self, commit: &str, file: &str) -> PathBuf {
        self.snapshot(commit).join(file)
    }

    /// Whether a file of a commit is there. An empty one is not: no file of a checkpoint is, but what a power cut leaves
    /// of one may be.
    pub(super) fn has(&self, commit: &str, file: &str) -> bool {
        self.pointer(commit, file).metadata().is_ok_and(|found| found.is_file() && found.len() > 0)
    }

    /// Where the mark is that says that a commit has no such file.
    pub(super) fn absence_mark(&self, commit: &str, file: &str) -> PathBuf {
        self.root.join(".no_exist").join(commit).join(file)
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// What there is of a checkpoint at a branch, tag or commit.
    pub(super) fn find(&self, revision: &str) -> Result<Lookup> {
        let Some(commit) = self.commit(revision) else {
            return Ok(Lookup::Missing(KNOWN[0].to_owned()));
        };
        let names = self.known(&commit);
        let selection = match selection::needed(&names) {
            Ok(selection) => selection,
            Err(lack) => return Ok(Lookup::Missing(lack.file)),
        };
        let mut needed = selection.files.clone();
        if let Some(index) = &selection.index {
            needed.extend(read_shards(&self.pointer(&commit, index))?);
        }
        if let Some(missing) = needed.iter().find(|name| !self.has(&commit, name)) {
            return Ok(Lookup::Missing(missing.clone()));
        }
        let files = self.collect(&commit, &needed)?;
        Ok(match self.unsettled(&commit, &selection) {
            Some(name) => Lookup::Doubtful(files, name),
            None => Lookup::Complete(files),
        })
    }

    /// The files of a commit that a checkpoint may need. The configuration of transformers' form is left out where it is
    /// foreign.
    fn known(&self, commit: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.snapshot(commit)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_known(name) && self.has(commit, name)).collect();
        names.sort();
        let is_foreign = || Ok::<_, Infallible>(is_foreign(&self.pointer(commit, CONFIG)));
        without_foreign(names, is_foreign).unwrap_or_default()
    }

    fn unsettled(&self, commit: &str, selection: &Selection) -> Option<String> {
        selection.unsettled.iter().find(|name| !self.absence_mark(commit, name).is_file()).cloned()
    }

    /// The commit that a revision stands for, as far as the cache knows.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let mut text = String::new();
        let reference = File::open(self.root.join("refs").join(revision)).ok()?;
        reference.take(256).read_to_string(&mut text).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Describes files of a commit that are all there.
    pub(super) fn collect(&self, commit: &str, names: &[String]) -> Result<ModelFiles> {
        let describe = |name: &String| {
            let path = self.pointer(commit, name);
            match path.metadata() {
                Ok(metadata) => Ok(ModelFile { name: name.clone(), size: metadata.len(), path }),
                Err(source) => Err(Error::Read { path, source }),
            }
        };
        Ok(ModelFiles {
            directory: self.snapshot(commit),
            commit: Some(commit.to_owned()),
            files: names.iter().map(describe).collect::<Result<_>>()?,
        })
    }
}

/// The repositories that a cache has something of, sorted.
pub(super) fn repositories(cache: &Path) -> Vec<Cached> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let described = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let (org, name) = name.strip_prefix("models--")?.split_once("--")?;
        let repo = format!("{org}/{name}");
        let directory = match RepoCache::new(cache, &repo).find(DEFAULT_REVISION) {
            Ok(Lookup::Complete(files) | Lookup::Doubtful(files, _)) => Some(files.directory),
            _ => None,
        };
        Some(Cached { repo, bytes: size_of_folder(&entry.path()), directory })
    });
    let mut found: Vec<_> = described.collect();
    found.sort_by(|one, other| one.repo.cmp(&other.repo));
    found
}

/// Bytes in the files of a folder and of those in it. Links to files in it are not followed: they are counted where they
/// are. Links among the blobs are: they lead to contents that other repositories may share.
fn size_of_folder(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let holds_contents = folder.file_name().is_some_and(|name| name == "blobs");
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of_folder(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
        Ok(kind) if kind.is_symlink() && holds_contents => {
            entry.path().metadata().map_or(0, |metadata| metadata.len())
        }
        _ => 0,
    };
    entries.map(size).sum()
}

/// Whether a revision is a whole commit hash, as the names of snapshots are.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this is a hash as Xet writes them, and as the contents that all repositories share are named.
pub(super) fn is_xet_hash(hash: &str) -> bool {
    hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The shards that an index file names.
pub(super) fn read_shards(path: &Path) -> Result<Vec<String>> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let broken = |reason| Error::Weights { path: path.to_owned(), reason };
    let mut text = Vec::new();
    let file = File::open(path).map_err(read)?;
    file.take(MAX_INDEX + 1).read_to_end(&mut text).map_err(read)?;
    if text.len() as u64 > MAX_INDEX {
        return Err(broken(format!("the index has more than {MAX_INDEX} bytes")));
    }
    selection::shards(&text).map_err(broken)
}
