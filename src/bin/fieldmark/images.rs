//! The photos that were named on the command line, standard input among them.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, bail};
use fieldmark::{
    Photo, PhotoOptions,
    folder::Skipped,
    photo::{read, read_stream},
    run::{self, MEMORY, Photos},
};

use crate::terminal::Terminal;

/// What stands for standard input among photos. A file of this name is `./-`.
const STANDARD_INPUT: &str = "-";

/// Lists the photos behind paths, and notes what folders hold beside them.
pub fn expand(paths: &[PathBuf], terminal: &Terminal) -> Photos {
    let photos = Photos::of(paths);
    note_skipped(photos.skipped, terminal);
    photos
}

/// Notes what folders hold beside photos, if there is anything.
pub fn note_skipped(skipped: Skipped, terminal: &Terminal) {
    if !skipped.is_empty() {
        terminal.note(&format!("skipped {skipped}"));
    }
}

/// Whether a photo is read from standard input.
pub fn is_standard_input(photo: &Path) -> bool {
    photo == Path::new(STANDARD_INPUT)
}

/// Refuses standard input that is named more than once: it can be read once.
pub fn check_standard_input(photos: &[PathBuf]) -> Result<()> {
    let times = photos.iter().filter(|photo| is_standard_input(photo)).count();
    if times > 1 {
        bail!("-: expected standard input once, found {times} times");
    }
    Ok(())
}

/// The path that names a photo's files.
pub fn naming(photo: &Path) -> &Path {
    if is_standard_input(photo) { Path::new("stdin") } else { photo }
}

/// The bytes of a photo. They are read once: what is hashed and what is decoded is the same.
pub fn bytes(photo: &Path, options: &PhotoOptions) -> fieldmark::Result<Vec<u8>> {
    if is_standard_input(photo) {
        read_stream(photo, std::io::stdin().lock(), options)
    } else {
        read(photo, options)
    }
}

/// Opens a photo; returns it with the seconds that it took.
pub fn open(path: &Path, pixel_limit: u64, terminal: &Terminal) -> fieldmark::Result<(Photo, f64)> {
    let start = Instant::now();
    let options = PhotoOptions::default().pixel_limit(pixel_limit);
    let photo = Photo::from_bytes(path, &bytes(path, &options)?, &options)?;
    terminal.warn(photo.warnings());
    Ok((photo, start.elapsed().as_secs_f64()))
}

/// The bytes of memory that a photo needs. Of standard input nothing is known.
pub fn memory(photo: &Path) -> u64 {
    if is_standard_input(photo) { MEMORY } else { run::memory(photo) }
}

/// An error with the photo that it is about in front, unless it names the photo already.
pub fn named(error: fieldmark::Error, photo: Option<&Path>) -> anyhow::Error {
    let error = anyhow::Error::from(error);
    let Some(name) = photo.map(|photo| photo.display().to_string()) else { return error };
    if error.chain().any(|cause| cause.to_string().contains(&name)) { error } else { error.context(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_is_named_once() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert!(check_standard_input(&paths(&["-", "a.jpg", "./-"])).is_ok());
        assert!(check_standard_input(&paths(&["-", "a.jpg", "-"])).is_err());
        assert_eq!(naming(Path::new("-")), Path::new("stdin"));
    }
}
