//! Refuses symbolic links of a checkpoint that lead out of its directory.
//!
//! A checkpoint from elsewhere may hold links, and a link may name any file of the machine. Two are fine: one that
//! stays inside the directory, and one of the Hub's cache, where `snapshots/<commit>/<file>` links to
//! `blobs/<etag>` of the same repository.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use super::selection::KNOWN;
use crate::error::{Error, Result};

/// Checks every file of a checkpoint's directory that may be read.
///
/// # Errors
/// [`Error::Read`] names the first link that leads elsewhere, and where. Links to nothing are left to whoever misses
/// the file.
pub(in crate::model) fn refuse_links_out(directory: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    let allowed = allowed_roots(directory);
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let may_be_read =
            name.to_str().is_some_and(|name| KNOWN.contains(&name) || name.ends_with(".safetensors"));
        if !may_be_read || !path.is_symlink() {
            continue;
        }
        let Ok(target) = path.canonicalize() else { continue };
        if !allowed.iter().any(|root| target.starts_with(root)) {
            let reason = format!(
                "expected a file of the checkpoint's directory, found a link to {}",
                target.display()
            );
            return Err(Error::Read { path, source: IoError::new(ErrorKind::PermissionDenied, reason) });
        }
    }
    Ok(())
}

/// The directory itself, and for a snapshot of the cache its repository's blobs.
fn allowed_roots(directory: &Path) -> Vec<PathBuf> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let snapshots = directory.parent().filter(|parent| parent.ends_with("snapshots"));
    let blobs =
        snapshots.and_then(Path::parent).and_then(|repository| repository.join("blobs").canonicalize().ok());
    std::iter::once(directory).chain(blobs).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_may_stay_inside_or_lead_to_the_blobs_of_a_cache() {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("models--org--name");
        let snapshot = repository.join("snapshots").join("0".repeat(40));
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir(repository.join("blobs")).unwrap();
        std::fs::write(repository.join("blobs/etag"), "{}").unwrap();
        std::fs::write(snapshot.join("vocab.json"), "{}").unwrap();
        symlink("../../blobs/etag", snapshot.join("config.json")).unwrap();
        symlink("vocab.json", snapshot.join("tokenizer.json")).unwrap();
        symlink("/no/such", snapshot.join("merges.txt")).unwrap();
        symlink("/etc/hostname", snapshot.join("README.md")).unwrap();
        refuse_links_out(&snapshot).unwrap();
        std::fs::write(folder.path().join("other"), "x").unwrap();
        symlink("../../../other", snapshot.join("model-00001.safetensors")).unwrap();
        let error = refuse_links_out(&snapshot).unwrap_err();
        assert!(matches!(error, Error::Read { path, .. } if path.ends_with("model-00001.safetensors")));
    }

    #[test]
    fn a_directory_called_blobs_elsewhere_is_no_cache() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/model")).unwrap();
        std::fs::create_dir(folder.path().join("blobs")).unwrap();
        std::fs::write(folder.path().join("blobs/etag"), "{}").unwrap();
        symlink("../../blobs/etag", folder.path().join("a/model/config.json")).unwrap();
        assert!(refuse_links_out(&folder.path().join("a/model")).is_err());
    }
}
