//! Removes what the cache has of a checkpoint but is not what its name says, so that it is fetched again.

use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use super::HubOptions;
use super::cache::{Lookup, RepoCache};
use super::selection::KNOWN;
use super::verify::difference;
use crate::error::{Error, Result};
use crate::progress::{Event, ProgressHandler, Warning};

/// Checks the files of a checkpoint at a revision, and removes those that are damaged.
///
/// The names of contents are their hashes, so this asks nobody. A cache without links has no such names: its files are
/// taken for what they are.
///
/// # Errors
/// Where the network may not be used nothing is removed; then the first damaged file is [`Error::Read`].
pub(super) fn drop_damaged(
    cache: &RepoCache,
    (repo, revision): (&str, &str),
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<()> {
    let Some(commit) = cache.commit(revision) else {
        return Ok(());
    };
    let repair = Repair { cache, repo, commit: &commit, options, progress };
    KNOWN.iter().try_for_each(|name| repair.file(name))?;
    // The shards are named by the index, which is sound by now, or gone.
    match cache.find(revision)? {
        Lookup::Complete(files) | Lookup::Doubtful(files, _) => {
            let shards = files.files.iter().filter(|file| !KNOWN.contains(&file.name.as_str()));
            shards.map(|file| file.name.as_str()).try_for_each(|name| repair.file(name))
        }
        Lookup::Missing(_) => Ok(()),
    }
}

struct Repair<'a> {
    cache: &'a RepoCache,
    repo: &'a str,
    commit: &'a str,
    options: &'a HubOptions,
    progress: &'a dyn ProgressHandler,
}

impl Repair<'_> {
    fn file(&self, name: &str) -> Result<()> {
        let pointer = self.cache.pointer(self.commit, name);
        let Some(etag) = named_contents(&pointer) else {
            return Ok(());
        };
        let reading = |source| Error::Read { path: pointer.clone(), source };
        let Some(reason) = difference(&pointer, &etag, None).map_err(reading)? else {
            return Ok(());
        };
        if self.options.offline {
            return Err(reading(IoError::new(ErrorKind::InvalidData, reason)));
        }
        let file = format!("{}/{name}", self.repo);
        self.progress.event(Event::Warning(Warning::CacheDamaged { file, reason }));
        let paths = self.cache.blob(&etag)?;
        let _lock = paths.lock(self.options.read_timeout)?;
        // The link goes with its blob: it would lead to the next file of that name.
        let writing = |source| Error::Write { path: pointer.clone(), source };
        std::fs::remove_file(&pointer).map_err(writing)?;
        paths.forget_blob()
    }
}

/// The etag of the contents that a link in a snapshot leads to; none if there is no such file.
fn named_contents(pointer: &Path) -> Option<String> {
    let target = std::fs::read_link(pointer).ok()?;
    pointer.is_file().then(|| target.file_name()?.to_str().map(str::to_owned))?
}
