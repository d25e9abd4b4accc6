//! The files and folders of a data set: what is there, and which of several is meant.

use std::path::{Path, PathBuf};

use fieldmark_model::error::{Error, Result};
use fieldmark_model::folder::{PHOTO_ENDINGS, is_hidden};

/// What is in a folder, by name; nothing if there is no such folder. Hidden entries are left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let fail = |source| Error::Read { path: folder.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !is_hidden(&entry.file_name()) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The folders in a folder, by name.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = entries(folder)?;
    paths.retain(|path| path.is_dir());
    Ok(paths)
}

/// The files in a folder whose names end so, by name.
pub(super) fn files_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut paths = entries(folder)?;
    paths.retain(|path| file_name(path).ends_with(ending) && path.is_file());
    Ok(paths)
}

/// The names of the images in a folder, in alphabetical order.
pub(super) fn image_names(folder: &Path) -> Result<Vec<String>> {
    let is_image = |name: &String| {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| PHOTO_ENDINGS.contains(&ending.as_str()))
    };
    Ok(entries(folder)?.iter().map(|path| file_name(path)).filter(is_image).collect())
}

/// The last part of a path, as text.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first of the usual folders that has one of the pictures; the first of all if none has, so that messages name
/// a place where the pictures could be.
pub(super) fn images_folder<'a>(
    usual: Vec<PathBuf>,
    names: impl Iterator<Item = &'a str> + Clone,
) -> PathBuf {
    /// Some pictures of a set may be missing.
    const TRIED: usize = 16;
    let has_one = |folder: &&PathBuf| names.clone().take(TRIED).any(|name| folder.join(name).is_file());
    usual.iter().find(has_one).or(usual.first()).cloned().unwrap_or_default()
}

/// The file itself, where it is one that was named: then nothing is left to choose.
pub(super) fn named_file(path: &Path, split: Option<&str>) -> Result<PathBuf> {
    match split {
        Some(split) => {
            let reason = format!("expected none beside a file, found {split:?}");
            Err(Error::Option { option: "split", reason })
        }
        None => Ok(path.into()),
    }
}

/// The one file that is meant of those that were found; a split is part of its name.
pub(super) fn only(
    folder: &Path,
    mut found: Vec<PathBuf>,
    split: Option<&str>,
    what: &str,
) -> Result<PathBuf> {
    if let Some(split) = split {
        found.retain(|path| file_name(path).contains(split));
    }
    match found.as_slice() {
        [path] => Ok(path.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|path| file_name(path)).collect();
            let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let of = split.map_or(String::new(), |split| format!(" of the split {split:?}"));
            let reason = format!("expected one file of {what}{of}, found {found}");
            Err(Error::Dataset { path: folder.into(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_chooses_among_files() {
        let files = || ["instances_train.json", "instances_val.json"].map(PathBuf::from).to_vec();
        let only =
            |split| only(Path::new("set"), files(), split, "annotations").map_err(|error| error.to_string());
        assert_eq!(only(Some("val")), Ok("instances_val.json".into()));
        assert_eq!(
            only(None),
            Err("set: expected one file of annotations, found instances_train.json, instances_val.json"
                .into())
        );
        assert_eq!(
            only(Some("x")),
            Err("set: expected one file of annotations of the split \"x\", found none".into())
        );
    }
}
