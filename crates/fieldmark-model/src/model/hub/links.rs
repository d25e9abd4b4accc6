//! Refuses symbolic links of a checkpoint that lead out of its directory.
//!
//! A checkpoint from elsewhere may hold links, and a link may name any file of the machine. Two are fine: one that
//! stays inside the directory, and one to contents of the Hub's cache. These are `models--<org>--<name>/blobs/<etag>`,
//! where snapshots link to, and so do directories that older versions of `huggingface_hub` filled; and, since its
//! version 2, `blobs/<ab>/<hash>`, which all repositories of a cache share.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Read};
use std::path::Path;

use super::cache::is_xet_hash;
use super::selection::{is_known, may_be_weights};
use crate::error::{Error, Result};

/// The file that marks the folder of the contents that all repositories share.
pub(super) const SHARED_MARK: &str = ".huggingface-shared-blobs";
/// What stands in it: the number of the layout.
pub(super) const SHARED_LAYOUT: &str = "1\n";

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

/// Whether a file lies among the contents that the Hub's cache keeps of a model, or of all of them.
fn is_cached_contents(target: &Path) -> bool {
    let mut folders = target.ancestors().map(|folder| folder.file_name().and_then(OsStr::to_str));
    let (name, folder, above) =
        (folders.next().flatten(), folders.next().flatten(), folders.next().flatten());
    if folder == Some("blobs") {
        return above.is_some_and(|name| name.starts_with("models--"));
    }
    let (Some(name), Some(folder), Some("blobs")) = (name, folder, above) else {
        return false;
    };
    let store = target.ancestors().nth(2);
    is_xet_hash(name) && folder == &name[..2] && store.is_some_and(is_shared_store)
}

/// Whether a folder holds contents that all repositories of a cache share, in the layout that is known.
pub(super) fn is_shared_store(folder: &Path) -> bool {
    let mark = folder.join(SHARED_MARK);
    let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_file());
    let is_folder = folder.symlink_metadata().is_ok_and(|found| found.is_dir());
    let mut text = String::new();
    let mut read = || File::open(&mark)?.take(SHARED_LAYOUT.len() as u64 + 1).read_to_string(&mut text);
    is_folder && is_file(&mark) && read().is_ok() && text == SHARED_LAYOUT
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
    fn links_may_lead_to_the_contents_that_all_repositories_share() {
        let folder = tempfile::tempdir().unwrap();
        let (hash, store) = ("ab".repeat(32), folder.path().join("blobs"));
        let snapshot = folder.path().join("models--org--name/snapshots").join("0".repeat(40));
        for new in [&store.join("ab"), &snapshot, &folder.path().join("models--org--name/blobs")] {
            std::fs::create_dir_all(new).unwrap();
        }
        std::fs::write(store.join("ab").join(&hash), "{}").unwrap();
        let blob = folder.path().join("models--org--name/blobs/etag");
        symlink(Path::new("../../blobs/ab").join(&hash), blob).unwrap();
        symlink("../../blobs/etag", snapshot.join("config.json")).unwrap();
        assert!(refuse_links_out(&snapshot).is_err(), "a store without its mark");
        std::fs::write(store.join(SHARED_MARK), "2\n").unwrap();
        assert!(refuse_links_out(&snapshot).is_err(), "a store of another layout");
        std::fs::write(store.join(SHARED_MARK), SHARED_LAYOUT).unwrap();
        refuse_links_out(&snapshot).unwrap();
        std::fs::write(store.join("ab/secret"), "{}").unwrap();
        symlink("../../../blobs/ab/secret", snapshot.join("tokenizer.json")).unwrap();
        assert!(refuse_links_out(&snapshot).is_err(), "no name of contents");
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
