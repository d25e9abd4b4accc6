//! What a user calls a checkpoint.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use super::selection;
use crate::error::{Error, Result};
use crate::files::{escaped, unescaped};

/// The name of the checkpoint that ships inside the library.
pub(in crate::model) const BUILTIN: &str = "miniature";
/// The branch that is meant where none is named.
pub(super) const DEFAULT_REVISION: &str = "main";
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
    /// the Hub even if the working directory has such a folder, and `local-dir:` that it is a directory.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let files = crate::model::hub::local::beside(&weights).unwrap();
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
}
