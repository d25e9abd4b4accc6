//! Brings the files of a repository from the Hub into the cache: each is described, locked, fetched or resumed,
//! checked, and only then put in its place.

use super::answer::{Failure, Remote, Repository, network};
use super::cache::{RepoCache, read_shards};
use super::client::Client;
use super::patience::Patience;
use super::selection::{self, CONFIG};
use super::shared::SharedStore;
use super::store::BlobPaths;
use super::transfer::Transfer;
use super::verify::difference;
use super::xet;
use super::{HubOptions, ModelFiles};
use crate::error::{Error, Result};
use crate::model::formats::config::is_foreign;
use crate::progress::{Event, ProgressHandler, Warning};

/// Brings what a checkpoint needs into the cache and says where it is.
///
/// It runs on a thread of its own: the connections need a runtime, which a caller's thread may have already.
pub(super) fn fetch(
    cache: &RepoCache,
    repository: Repository<'_>,
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("hub".into());
        let worker = worker.spawn_scoped(scope, || fetch_here(cache, repository, options, progress));
        let worker =
            worker.map_err(|error| network(&options.endpoint, format!("no thread for it: {error}")))?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn fetch_here(
    cache: &RepoCache,
    repository: Repository<'_>,
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    let client = Client::new(options, progress)?;
    let listing = client.listing(repository)?;
    let commit = listing.commit.as_str();
    let store = SharedStore::new(&options.cache);
    let pinned =
        Fetch { client: &client, cache, store, repository: Repository { revision: commit, ..repository } };
    let readable = selection::without_foreign(listing.files.clone(), || {
        pinned.file(CONFIG)?;
        Ok::<_, Error>(is_foreign(&cache.pointer(commit, CONFIG)))
    })?;
    let chosen = selection::needed(&readable).map_err(|lack| not_found(repository, lack.reason))?;
    let mut needed = chosen.files;
    // The index comes first: its shards must be known to exist before anything large is fetched.
    if let Some(index) = &chosen.index {
        pinned.file(index)?;
        let shards = read_shards(&cache.pointer(commit, index))?;
        if let Some(missing) = shards.iter().find(|shard| !listing.files.contains(shard)) {
            return Err(not_found(repository, format!("has no {missing}, which {index} names")));
        }
        needed.extend(shards);
    }
    for file in &needed {
        pinned.file(file)?;
    }
    for name in &chosen.unsettled {
        cache.mark_absent(commit, name)?;
    }
    // Last, so that an interrupted update leaves the complete older commit in use.
    cache.write_reference(repository.revision, commit)?;
    cache.collect(commit, &needed)
}

fn not_found(repository: Repository<'_>, reason: String) -> Error {
    Error::ModelNotFound { model: repository.name.to_owned(), reason }
}

/// Everything that fetching one file of a commit needs to know.
struct Fetch<'a> {
    client: &'a Client<'a>,
    cache: &'a RepoCache,
    store: SharedStore,
    repository: Repository<'a>,
}

/// One file, and where it goes.
struct Wanted<'a> {
    file: &'a str,
    /// Its name in events.
    name: &'a str,
    remote: &'a Remote,
    paths: &'a BlobPaths,
}

impl Fetch<'_> {
    /// Makes sure that a file of the commit is in the cache.
    fn file(&self, file: &str) -> Result<()> {
        let commit = self.repository.revision;
        let name = format!("{}/{file}", self.repository.name);
        if self.cache.has(commit, file) {
            self.client.progress.event(Event::DownloadCached { file: name });
            return Ok(());
        }
        let remote = self.client.describe(self.repository, file)?;
        let paths = self.cache.blob(&remote.etag)?;
        let _lock = paths.lock(self.client.options.read_timeout)?;
        let wanted = Wanted { file, name: &name, remote: &remote, paths: &paths };
        if self.cache.has(commit, file) || self.is_there(&wanted)? {
            self.client.progress.event(Event::DownloadCached { file: name });
        } else {
            self.blob(&wanted)?;
        }
        self.cache.publish(commit, file, &paths.blob)
    }

    /// Whether the contents are in the cache already, here or among those of all repositories. What is there but wrong
    /// is removed.
    fn is_there(&self, wanted: &Wanted<'_>) -> Result<bool> {
        let Wanted { remote, paths, .. } = wanted;
        if let (Some(hash), Some(size), true) = (&remote.xet, remote.size, self.client.options.shared_blobs)
            && !paths.blob.is_file()
        {
            self.store.link(hash, size, &paths.blob);
        }
        if !paths.blob.is_file() {
            return Ok(false);
        }
        match difference(&paths.blob, &remote.etag, remote.size) {
            Ok(None) => Ok(true),
            Ok(Some(reason)) => {
                let file = wanted.name.to_owned();
                self.client.progress.event(Event::Warning(Warning::CacheDamaged { file, reason }));
                paths.forget_blob()?;
                Ok(false)
            }
            Err(source) => Err(Error::Read { path: paths.blob.clone(), source }),
        }
    }

    /// Fetches contents, checks them and puts them in their place.
    fn blob(&self, wanted: &Wanted<'_>) -> Result<()> {
        if self.by_xet(wanted)? {
            self.client.progress.event(Event::DownloadFinished);
            return Ok(());
        }
        let Wanted { file, name, remote, paths } = *wanted;
        let (client, repository) = (self.client, self.repository);
        let mut transfer = Transfer { client, repository, file, name, remote, paths, announced: None };
        // What an earlier run left may be wrong from its first byte on.
        let mut inherited = paths.partial_length() > 0;
        let mut patience = Patience::new(self.client, name);
        loop {
            while let Err(failure) = transfer.attempt() {
                patience.after(failure, paths.partial_length())?;
            }
            let checked = difference(&paths.partial, &remote.etag, remote.size);
            let checked = checked.map_err(|source| Error::Read { path: paths.partial.clone(), source })?;
            let Some(reason) = checked else { break };
            paths.discard()?;
            let url = self.client.address(repository, file);
            if !inherited {
                return Err(network(&url, reason));
            }
            inherited = false;
            patience.after(Failure::Passing { url, reason, wait: None }, 0)?;
        }
        paths.complete()?;
        self.client.progress.event(Event::DownloadFinished);
        Ok(())
    }

    /// Fetches contents from Xet's storage where that can be done; what was begun over plain connections goes on there.
    fn by_xet(&self, wanted: &Wanted<'_>) -> Result<bool> {
        let Wanted { name, remote, paths, .. } = *wanted;
        let (Some(hash), Some(size)) = (&remote.xet, remote.size) else {
            return Ok(false);
        };
        if !xet::is_possible(self.client.options) || paths.partial_length() > 0 {
            return Ok(false);
        }
        let arriving = paths.another_partial()?;
        let contents = xet::Contents { hash, size, name };
        let fetched = xet::fetch(self.client, self.repository, contents, arriving.path());
        let reason = match fetched {
            Ok(()) => difference(arriving.path(), &remote.etag, remote.size)
                .map_err(|source| Error::Read { path: arriving.path().to_owned(), source })?,
            Err(reason) => Some(reason),
        };
        if let Some(reason) = reason {
            let (what, reason) = (name.to_owned(), format!("from Xet's storage: {reason}"));
            self.client.progress.event(Event::Warning(Warning::Retry { what, reason }));
            return Ok(false);
        }
        paths.complete_from(arriving)?;
        if self.client.options.shared_blobs {
            self.store.publish(hash, size, &paths.blob);
        }
        Ok(true)
    }
}
