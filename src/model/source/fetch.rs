//! Brings the files of a repository from the Hub into the cache: each is described, locked, fetched or resumed,
//! checked, and only then put in its place.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use super::cache::{RepoCache, read_shards};
use super::http::{Client, Contents, Failure, Patience, Remote, Repository, classify, network};
use super::selection::{self, CONFIG};
use super::store::{BlobPaths, writing};
use super::{HubOptions, ModelFiles};
use crate::error::{Error, Result};
use crate::model::config::is_foreign;
use crate::model::digest::{Hasher, hexadecimal};
use crate::progress::{Event, ProgressHandler};

/// Bytes moved at a time.
const CHUNK: usize = 256 << 10;

/// Brings what a checkpoint needs into the cache and says where it is.
pub(super) fn fetch(
    cache: &RepoCache,
    repository: Repository<'_>,
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    let client = Client::new(options, progress)?;
    let listing = client.listing(repository)?;
    let commit = listing.commit.as_str();
    let pinned = Fetch { client: &client, cache, repository: Repository { revision: commit, ..repository } };
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
    repository: Repository<'a>,
}

impl Fetch<'_> {
    /// Makes sure that a file of the commit is in the cache.
    fn file(&self, file: &str) -> Result<()> {
        let commit = self.repository.revision;
        let name = format!("{}/{file}", self.repository.name);
        if self.cache.pointer(commit, file).is_file() {
            self.client.progress.event(Event::DownloadCached { file: name });
            return Ok(());
        }
        let remote = self.client.describe(self.repository, file)?;
        let paths = self.cache.blob(&remote.etag)?;
        let _lock = paths.lock(self.client.options.read_timeout)?;
        let fits = |blob: &Path| {
            blob.metadata().is_ok_and(|found| remote.size.is_none_or(|size| size == found.len()))
        };
        if fits(&paths.blob) || self.cache.pointer(commit, file).is_file() {
            self.client.progress.event(Event::DownloadCached { file: name });
        } else {
            self.blob(file, &name, &remote, &paths)?;
        }
        self.cache.publish(commit, file, &paths.blob)
    }

    /// Fetches contents, checks them and puts them in their place.
    fn blob(&self, file: &str, name: &str, remote: &Remote, paths: &BlobPaths) -> Result<()> {
        let mut transfer = Transfer { fetch: self, file, name, remote, paths, announced: None };
        let mut patience = Patience::new(self.client, name);
        while let Err(failure) = transfer.attempt() {
            patience.after(failure, partial_length(paths))?;
        }
        if let Err(reason) = check(remote, &paths.partial)? {
            paths.discard()?;
            return Err(network(&self.client.address(self.repository, file), reason));
        }
        paths.complete()?;
        self.client.progress.event(Event::DownloadFinished);
        Ok(())
    }
}

/// One file that is being fetched, over however many connections it takes.
struct Transfer<'a> {
    fetch: &'a Fetch<'a>,
    file: &'a str,
    name: &'a str,
    remote: &'a Remote,
    paths: &'a BlobPaths,
    /// How far the receiver of the events believes the file to be.
    announced: Option<u64>,
}

impl Transfer<'_> {
    /// Fetches what is missing over one connection.
    fn attempt(&mut self) -> Result<(), Failure> {
        let mut have = partial_length(self.paths);
        if self.remote.size.is_some_and(|size| have > size) {
            self.paths.discard()?;
            have = 0;
        }
        if self.remote.size == Some(have) && have > 0 {
            self.announce(have);
            return Ok(());
        }
        let Some(contents) = self.fetch.client.open(self.fetch.repository, self.file, have)? else {
            self.paths.discard()?;
            return Err(self.passing(format!("the server has nothing from byte {have} on")));
        };
        self.refuse_wrong_size(&contents)?;
        if contents.start != 0 && contents.start != have {
            self.paths.discard()?;
            return Err(self.passing("the server sent another part than was asked for".into()));
        }
        self.announce(contents.start);
        self.receive(contents)
    }

    fn refuse_wrong_size(&self, contents: &Contents) -> Result<(), Failure> {
        match (self.remote.size, contents.total) {
            (Some(expected), Some(found)) if expected != found => {
                self.paths.discard()?;
                let reason = format!("the file has {found} bytes, expected {expected}");
                Err(network(&self.url(), reason).into())
            }
            _ => Ok(()),
        }
    }

    /// Tells the receiver of the events where the file stands, unless it knows.
    fn announce(&mut self, resumed: u64) {
        if self.announced != Some(resumed) {
            let (file, total) = (self.name.to_owned(), self.remote.size);
            self.fetch.client.progress.event(Event::DownloadStarted { file, total, resumed });
            self.announced = Some(resumed);
        }
    }

    /// Appends what arrives to the partial file, which then ends at the last byte that arrived.
    fn receive(&mut self, contents: Contents) -> Result<(), Failure> {
        let path = &self.paths.partial;
        let mut options = OpenOptions::new();
        options.create(true).append(contents.start > 0).write(true).truncate(contents.start == 0);
        let mut partial = options.open(path).map_err(writing(path))?;
        let total = self.remote.size.or(contents.total);
        // One byte more than expected is enough to see that a body is too long.
        let limit = total.map_or(u64::MAX, |total| total.saturating_sub(contents.start).saturating_add(1));
        let mut body = contents.body.into_with_config().limit(u64::MAX).reader().take(limit);
        let mut at = contents.start;
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = body.read(&mut chunk).map_err(|error| classify(&self.url(), &error.into()))?;
            if count == 0 {
                break;
            }
            partial.write_all(&chunk[..count]).map_err(writing(path))?;
            at += count as u64;
            self.announced = Some(at);
            self.fetch.client.progress.event(Event::DownloadAdvanced { bytes: count as u64 });
        }
        // Some file systems say only now that the disk is full.
        partial.sync_all().map_err(writing(path))?;
        match total {
            Some(total) if at < total => {
                Err(self.passing(format!("the connection ended at byte {at} of {total}")))
            }
            _ => Ok(()),
        }
    }

    fn passing(&self, reason: String) -> Failure {
        Failure::Passing { url: self.url(), reason, wait: None }
    }

    fn url(&self) -> String {
        self.fetch.client.address(self.fetch.repository, self.file)
    }
}

fn partial_length(paths: &BlobPaths) -> u64 {
    paths.partial.metadata().map_or(0, |metadata| metadata.len())
}

/// Compares contents with what the Hub said about them; the inner error says how they differ.
fn check(remote: &Remote, partial: &Path) -> Result<Result<(), String>> {
    let reading = |source| Error::Read { path: partial.to_owned(), source };
    let length = partial.metadata().map_err(reading)?.len();
    if let Some(size) = remote.size.filter(|size| *size != length) {
        return Ok(Err(format!("received {length} bytes or more, expected {size}")));
    }
    // Large files are named by their SHA-256, small ones by a hash of git's.
    if remote.etag.len() != 64 || !remote.etag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Ok(()));
    }
    let found = sha256(partial).map_err(reading)?;
    if found.eq_ignore_ascii_case(&remote.etag) {
        return Ok(Ok(()));
    }
    Ok(Err(format!("the file's sha256 is {found}, expected {}", remote.etag)))
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hexadecimal(&hasher.finish())),
            count => hasher.update(&chunk[..count]),
        }
    }
}
