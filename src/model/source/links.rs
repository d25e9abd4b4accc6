//! Refuses symbolic links of a checkpoint that lead out of its directory.
//!
//! A checkpoint from elsewhere may hold links, and a link may name any file of the machine. Two are fine: one that
//! stays inside the directory, and one to `models--<org>--<name>/blobs/<etag>`, which is how the Hub's cache keeps
//! contents: its snapshots link there, and so do directories that older versions of `huggingface_hub` filled.

use std::ffi::OsStr;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use super::selection::{is_known, may_be_weights};
use crate::error::{Error, Result};

/// Checks every file of a checkpoint's directory that may be read.
///
/// # Errors
/// [`Error::Read`] names the first link that leads elsewhere, and where. Links to nothing are left to whoever misses
/// the file.
pub(in crate::model) fn refuse_links_out(directory: &Path) -> Result<()> {
    let (Ok(entries), Ok(inside)) = (std::fs::read_dir(directory), directory.canonicalize()) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let may_be_read = name.to_str().is_some_and(|name| is_known(name) || may_be_weights(name));
        if !may_be_read || !path.is_symlink() {
            continue;
        }
        let Ok(target) = path.canonicalize() else { continue };
        if !target.starts_with(&inside) && !is_cached_contents(&target) {
            let target = target.display();
            let reason = format!("expected a file of the checkpoint's directory, found a link to {target}");
            return Err(Error::Read { path, source: IoError::new(ErrorKind::PermissionDenied, reason) });
        }
    }
    Ok(())
}

/// Whether a file lies among the contents that the Hub's cache keeps of a model.
fn is_cached_contents(target: &Path) -> bool {
    let mut folders = target.ancestors().skip(1).map(|folder| folder.file_name().and_then(OsStr::to_str));
    let (blobs, repository) = (folders.next().flatten(), folders.next().flatten());
    blobs == Some("blobs") && repository.is_some_and(|name| name.starts_with("models--"))
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
        let filled = folder.path().join("filled");
        std::fs::create_dir(&filled).unwrap();
        symlink("../models--org--name/blobs/etag", filled.join("config.json")).unwrap();
        refuse_links_out(&filled).unwrap();
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
