//! Which photos are meant.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// The endings of the files that a directory stands for; a file that is named itself may have any.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif"];

/// The photos behind the paths that were typed: files as they are, directories as the images in them, by name.
/// A path that is not there stays in the list: opening it tells what is wrong.
pub fn expand(paths: &[PathBuf]) -> Vec<Result<PathBuf>> {
    paths.iter().flat_map(|path| if path.is_dir() { inside(path) } else { vec![Ok(path.clone())] }).collect()
}

fn inside(directory: &Path) -> Vec<Result<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return vec![Err(anyhow!(error).context(format!("{}: cannot be read", directory.display())))];
        }
    };
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut images: Vec<PathBuf> = paths.filter(|path| is_image(path) && path.is_file()).collect();
    images.sort();
    match images.is_empty() {
        true => vec![Err(anyhow!("{}: no image is in this directory", directory.display()))],
        false => images.into_iter().map(Ok).collect(),
    }
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
