//! Where a checkpoint's files are: a directory, the cache, or the Hub.

use std::path::PathBuf;

use super::{
    HubOptions, ModelSpec,
    cache::{self, Lookup, RepoCache},
    local,
};
#[cfg(feature = "hub")]
use super::{answer, fetch, repair};
use crate::error::{Error, Result};
use crate::progress::{Event, ProgressHandler, Warning};

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelFile {
    /// Its name in the repository.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes in it.
    pub size: u64,
}

/// Where a checkpoint's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelFiles {
    /// The directory that holds them under their own names: the local one, or the snapshot in the cache.
    pub directory: PathBuf,
    /// The commit of the repository; none of a local directory.
    pub commit: Option<String>,
    /// The files of the repository that the checkpoint needs, configuration first; empty for a local directory,
    /// whose files are those that its reader opens. For a file of weights, what may belong to it, and it last.
    pub files: Vec<ModelFile>,
}

/// A repository that the cache has, at least in part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cached {
    /// `org/name`.
    pub repo: String,
    /// Bytes that it takes on the disk, all revisions together.
    pub bytes: u64,
    /// The directory of the default revision; none unless it has all that a checkpoint needs.
    pub directory: Option<PathBuf>,
}

/// The repositories that the cache has, at least in part, sorted. Unreadable ones are left out, and the network is not
/// touched.
pub fn cached(options: &HubOptions) -> Vec<Cached> {
    cache::repositories(&options.cache)
}

/// Finds a checkpoint's files, and fetches what is missing.
///
/// A local directory is only checked to exist. A repository of the Hub is taken from the cache, without touching the
/// network, if all that it needs is there for that revision; else what is missing is fetched. Where the Hub cannot be
/// reached (or may not be: offline) and the cache lacks only optional files, the result leaves them out, with a
/// [`Warning::CacheIncomplete`].
///
/// # Errors
///
/// [`Error::ModelNotFound`] where there is no such directory, repository, revision or usable checkpoint in it, and for
/// [`ModelSpec::Builtin`], which has no files; [`Error::Offline`] where a file would have to be fetched but may not;
/// [`Error::AccessDenied`] where the Hub refuses; [`Error::Network`] where it fails or sends something wrong;
/// [`Error::Write`] where the cache cannot be written, or the disk is full.
pub fn locate(spec: &ModelSpec, options: &HubOptions, progress: &dyn ProgressHandler) -> Result<ModelFiles> {
    match spec {
        ModelSpec::Directory(path) if path.is_dir() => {
            Ok(ModelFiles { directory: path.clone(), commit: None, files: Vec::new() })
        }
        ModelSpec::Directory(_) => Err(not_found(spec, "no such directory")),
        ModelSpec::WeightsFile(file) => local::beside(file),
        ModelSpec::Builtin => Err(not_found(spec, "is built in and has no files")),
        ModelSpec::Hub { repo, revision } => locate_in_hub(spec, (repo, revision), options, progress),
    }
}

/// Finds a checkpoint's files as [`locate`] does, but compares what the cache has with the hashes that name it first:
/// what is damaged is fetched again, with a [`Warning::CacheDamaged`].
///
/// # Errors
///
/// Those of [`locate`]; and [`Error::Read`] for a damaged file where the network may not be used.
pub fn download(
    spec: &ModelSpec,
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    #[cfg(feature = "hub")]
    if let ModelSpec::Hub { repo, revision } = spec {
        let cache = RepoCache::new(&options.cache, repo);
        repair::drop_damaged(&cache, (repo, revision), options, progress)?;
    }
    locate(spec, options, progress)
}

fn not_found(spec: &ModelSpec, reason: &str) -> Error {
    Error::ModelNotFound { model: spec.to_string(), reason: reason.to_owned() }
}

fn locate_in_hub(
    spec: &ModelSpec,
    (repo, revision): (&str, &str),
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    if options.cache.as_os_str().is_empty() {
        return Err(Error::Option {
            option: "cache",
            reason: "no directory is known for the Hub's cache".into(),
        });
    }
    let cache = RepoCache::new(&options.cache, repo);
    let (usable, missing) = match cache.find(revision)? {
        Lookup::Complete(files) => {
            for file in &files.files {
                progress.event(Event::DownloadCached { file: format!("{repo}/{}", file.name) });
            }
            return Ok(files);
        }
        Lookup::Doubtful(files, missing) => (Some(files), missing),
        Lookup::Missing(missing) => (None, missing),
    };
    let fetched = if options.offline {
        Err(Error::Offline { model: spec.to_string(), file: missing.clone() })
    } else {
        fetch_missing(&cache, (repo, revision), options, progress)
    };
    match (fetched, usable) {
        (Err(Error::Offline { .. } | Error::Network { .. }), Some(files)) => {
            let model = spec.to_string();
            progress.event(Event::Warning(Warning::CacheIncomplete { model, file: missing }));
            Ok(files)
        }
        (fetched, _) => fetched,
    }
}

#[cfg(feature = "hub")]
fn fetch_missing(
    cache: &RepoCache,
    (name, revision): (&str, &str),
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    fetch::fetch(cache, answer::Repository { name, revision }, options, progress)
}

/// Without the network part, every build is offline.
#[cfg(not(feature = "hub"))]
fn fetch_missing(
    _cache: &RepoCache,
    (name, _revision): (&str, &str),
    _options: &HubOptions,
    _progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    let reason = "is not in the cache, and this build cannot fetch from the Hub".to_owned();
    Err(Error::ModelNotFound { model: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn hub(repo: &str, revision: &str) -> ModelSpec {
        ModelSpec::Hub { repo: repo.into(), revision: revision.into() }
    }

    #[test]
    fn a_directory_is_only_checked_to_exist() {
        let directory = tempfile::tempdir().unwrap();
        let spec = ModelSpec::Directory(directory.path().to_owned());
        let files = locate(&spec, &HubOptions::default(), &Silent).unwrap();
        assert_eq!(files, ModelFiles { directory: directory.path().to_owned(), commit: None, files: vec![] });
        let missing = ModelSpec::Directory(directory.path().join("missing"));
        assert!(matches!(
            locate(&missing, &HubOptions::default(), &Silent),
            Err(Error::ModelNotFound { .. })
        ));
    }

    #[test]
    fn the_hub_needs_to_know_its_cache() {
        let homeless = HubOptions { cache: PathBuf::new(), ..HubOptions::default() };
        let found = locate(&hub("org/name", "main"), &homeless, &Silent);
        assert!(matches!(found, Err(Error::Option { option: "cache", .. })));
    }
}
