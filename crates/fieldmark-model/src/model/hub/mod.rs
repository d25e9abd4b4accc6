//! Turns a model's name into a directory with its files: a local one as it is, or one of the Hub's by way of the
//! cache that all Hugging Face libraries share.

#[cfg(feature = "hub")]
mod answer;
#[cfg(feature = "hub")]
mod body;
mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod connection;
#[cfg(feature = "hub")]
mod fetch;
mod links;
mod local;
#[cfg(feature = "hub")]
mod open;
mod options;
#[cfg(feature = "hub")]
mod patience;
#[cfg(feature = "hub")]
mod proxy;
#[cfg(feature = "hub")]
mod repair;
mod selection;
#[cfg(feature = "hub")]
mod shared;
#[cfg(feature = "hub")]
mod store;
#[cfg(feature = "hub")]
mod transfer;
#[cfg(feature = "hub")]
mod verify;
#[cfg(feature = "hub")]
mod xet;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

pub(super) use links::refuse_links_out;
pub(super) use local::listing;
pub use options::HubOptions;
pub(super) use selection::{
    CONFIG, OPEN_CLIP_CONFIGS, OPEN_CLIP_WEIGHTS, WEIGHTS, layout, layouts, other_weights, weights,
};
pub use selection::{Lack, Layout, Selection, needed, shards};

use crate::error::{Error, Result};
use crate::files::{escaped, unescaped};
use crate::progress::{Event, ProgressHandler, Warning};
use cache::{Lookup, RepoCache};

/// The name of the checkpoint that ships inside the library.
pub(super) const BUILTIN: &str = "miniature";
/// The branch that is meant where none is named.
const DEFAULT_REVISION: &str = "main";
/// What open_clip has before names of the Hub, and before directories.
const HUB_SCHEME: &str = "hf-hub:";
const LOCAL_SCHEME: &str = "local-dir:";

/// Which checkpoint is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSpec {
    /// A local directory.
    Directory(PathBuf),
    /// A local file of weights, with the rest of the checkpoint beside it.
    WeightsFile(PathBuf),
    /// A repository of the Hub.
    Hub {
        /// `org/name`.
        repo: String,
        /// A branch, tag or commit.
        revision: String,
    },
    /// The checkpoint that ships inside the library.
    Builtin,
}

impl ModelSpec {
    /// Reads a name as people type it. One that is not UTF-8 is a path.
    ///
    /// `miniature` is the checkpoint that ships (a directory of that name is `./miniature`). A directory that exists
    /// is that directory, and so is what looks like a path: it starts with `.`, `/` or `~`, has a backslash, or more
    /// than one slash. A file of weights is that file, with the configuration and the tokenizer beside it. `org/name` and
    /// `org/name@revision` are repositories of the Hub. As in open_clip, `hf-hub:` before a name says that it is one of
    /// the Hub, whatever lies in this directory, and `local-dir:` that it is a directory.
    ///
    /// # Errors
    ///
    /// [`Error::ModelNotFound`] for anything else, and for a path of a file that is no weights.
    pub fn parse(name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        match name.to_str() {
            Some(name) => Self::of_text(name),
            None => Self::of_path(name),
        }
    }

    /// A name that is not UTF-8.
    fn of_path(name: &OsStr) -> Result<Self> {
        let text = escaped(Path::new(name)).unwrap_or_default();
        let path = text.strip_prefix(LOCAL_SCHEME).map_or_else(|| name.into(), unescaped);
        let shown = name.to_string_lossy();
        if !path.is_file() {
            return Ok(ModelSpec::Directory(path));
        }
        if selection::may_be_weights(&shown) {
            return Ok(ModelSpec::WeightsFile(path));
        }
        let reason = "is a file, expected a directory or a file of weights".to_owned();
        Err(Error::ModelNotFound { model: shown.into_owned(), reason })
    }

    fn of_text(name: &str) -> Result<Self> {
        let refuse =
            |reason: &str| Error::ModelNotFound { model: name.to_owned(), reason: reason.to_owned() };
        if let Some(path) = name.strip_prefix(LOCAL_SCHEME) {
            if path.is_empty() {
                return Err(refuse("names no directory"));
            }
            return Ok(ModelSpec::Directory(path.into()));
        }
        if let Some(repo) = name.strip_prefix(HUB_SCHEME) {
            return Self::in_hub(repo).map_err(|reason| refuse(&reason));
        }
        let path = Path::new(name);
        if name == BUILTIN {
            return Ok(ModelSpec::Builtin);
        }
        if path.is_dir() {
            return Ok(ModelSpec::Directory(path.to_owned()));
        }
        if path.is_file() {
            if selection::may_be_weights(name) {
                return Ok(ModelSpec::WeightsFile(path.to_owned()));
            }
            return Err(refuse("is a file, expected a directory or a file of weights"));
        }
        let repo = name.split_once('@').map_or(name, |(repo, _)| repo);
        if name.starts_with(['.', '/', '~']) || name.contains('\\') || repo.matches('/').count() > 1 {
            return Ok(ModelSpec::Directory(path.to_owned()));
        }
        Self::in_hub(name).map_err(|reason| refuse(&reason))
    }

    /// `org/name` or `org/name@revision`, or why a name is neither.
    fn in_hub(name: &str) -> Result<Self, String> {
        let (repo, revision) = name.split_once('@').unwrap_or((name, DEFAULT_REVISION));
        let is_name = repo.split_once('/').is_some_and(|(org, name)| is_hub_name(org) && is_hub_name(name));
        if !is_name {
            return Err("is neither a directory, nor miniature, nor a name of the form org/name".into());
        }
        if !selection::is_inside(revision) || revision.contains(char::is_whitespace) {
            return Err("what follows the @ is not a branch, tag or commit".into());
        }
        Ok(ModelSpec::Hub { repo: repo.to_owned(), revision: revision.to_owned() })
    }
}

/// The Hub's own rule for names: no `--`, which parts organisation and name in the cache, and no `..`.
fn is_hub_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edges = !name.starts_with(['-', '.']) && !name.ends_with(['-', '.']);
    (1..=96).contains(&name.len())
        && edges
        && name.chars().all(allowed)
        && !name.contains("--")
        && !name.contains("..")
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSpec::Directory(path) | ModelSpec::WeightsFile(path) => write!(f, "{}", path.display()),
            ModelSpec::Hub { repo, revision } if revision == DEFAULT_REVISION => f.write_str(repo),
            ModelSpec::Hub { repo, revision } => write!(f, "{repo}@{revision}"),
            ModelSpec::Builtin => f.write_str(BUILTIN),
        }
    }
}

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

/// A repository of which the cache has something.
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

/// The repositories of which the cache has something, sorted. What cannot be read is not there, and the network is not
/// touched.
pub fn cached(options: &HubOptions) -> Vec<Cached> {
    cache::repositories(&options.cache)
}

/// Finds a checkpoint's files, and fetches what is missing.
///
/// A local directory is only checked to exist. A repository of the Hub is taken from the cache, without touching the
/// network, if all that it needs is there for that revision; else what is missing is fetched. Where the Hub cannot be
/// reached (or may not be: offline) and the cache lacks nothing but optional files, they are done without, with a
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
        fetch(&cache, (repo, revision), options, progress)
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
fn fetch(
    cache: &RepoCache,
    (name, revision): (&str, &str),
    options: &HubOptions,
    progress: &dyn ProgressHandler,
) -> Result<ModelFiles> {
    fetch::fetch(cache, answer::Repository { name, revision }, options, progress)
}

/// Without the network part, every build is offline.
#[cfg(not(feature = "hub"))]
fn fetch(
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
    fn reads_names_of_the_hub() {
        let parse = |name: &str| ModelSpec::parse(name).unwrap();
        assert_eq!(parse("openai/clip-vit-base-patch16"), hub("openai/clip-vit-base-patch16", "main"));
        assert_eq!(parse("org/name@v1.0"), hub("org/name", "v1.0"));
        assert_eq!(parse("org/name@refs/pr/1"), hub("org/name", "refs/pr/1"));
        assert_eq!(parse("miniature"), ModelSpec::Builtin);
        assert_eq!(parse("hf-hub:org/name"), hub("org/name", "main"));
        assert_eq!(parse("hf-hub:org/name@v1.0"), hub("org/name", "v1.0"));
        assert_eq!(parse("local-dir:org/name"), ModelSpec::Directory("org/name".into()));
        assert_eq!(parse("org/name@refs/pr/1").to_string(), "org/name@refs/pr/1");
        assert_eq!(parse("org/name").to_string(), "org/name");
    }

    #[test]
    fn reads_paths() {
        let directory = tempfile::tempdir().unwrap();
        let existing = directory.path().to_str().unwrap();
        for name in [existing, "./miniature", "../model", "/no/such", "~/model", "a/b/c", "a\\b"] {
            assert_eq!(ModelSpec::parse(name).unwrap(), ModelSpec::Directory(name.into()), "{name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8_are_paths() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        let parse = |path: &Path| ModelSpec::parse(path).unwrap();
        assert_eq!(parse(&path(b"mod\xe8le")), ModelSpec::Directory(path(b"mod\xe8le")));
        let mut local = std::ffi::OsString::from("local-dir:");
        local.push(path(b"100% mod\xe8le"));
        assert_eq!(ModelSpec::parse(&local).unwrap(), ModelSpec::Directory(path(b"100% mod\xe8le")));
        let weights = path(b"\xe9.safetensors");
        std::fs::write(&weights, "").unwrap();
        assert_eq!(parse(&weights), ModelSpec::WeightsFile(weights.clone()));
        let files = local::beside(&weights).unwrap();
        assert_eq!(files.files.last().unwrap().path, weights);
        std::fs::write(path(b"\xe9.txt"), "").unwrap();
        assert!(ModelSpec::parse(path(b"\xe9.txt")).unwrap_err().to_string().contains("is a file"));
    }

    #[test]
    fn refuses_what_is_neither() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reason = |name: &str| match ModelSpec::parse(name) {
            Err(Error::ModelNotFound { reason, .. }) => reason,
            other => panic!("{name}: {other:?}"),
        };
        assert!(reason("clip-vit-base-patch16").contains("org/name"));
        assert!(reason(file.path().to_str().unwrap()).contains("is a file"));
        assert!(reason("local-dir:").contains("names no directory"));
        for name in [
            "hf-hub:",
            "hf-hub:name",
            "hf-hub:./a/b",
            "",
            "org/",
            "name@x",
            "org/na me",
            "org/a--b",
            "org/..",
            "org\u{e9}/name",
        ] {
            assert!(reason(name).contains("org/name"), "{name}");
        }
        for name in ["org/name@", "org/name@../x", "org/name@a b", "org/name@/x"] {
            assert!(reason(name).contains("after") || reason(name).contains("follows"), "{name}");
        }
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
