//! Which photos are meant, their bytes, and the memory that they need.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Result, anyhow, bail};
use fieldmark::{
    Photo, PhotoOptions,
    folder::{Folder, Skipped},
    photo::{read, read_stream, size_in_file},
};

use crate::{in_order::MEMORY, terminal::Terminal};

/// What stands for standard input among photos. A file of this name is `./-`.
const STANDARD_INPUT: &str = "-";

/// A photo with more pixels is at work alone.
const MOST_BESIDE_OTHERS: u64 = 40_000_000;

/// The photos behind the paths that were typed.
pub struct Photos {
    /// Files as they were typed, and the photos of folders by name. A path that does not exist is among them: opening it
    /// reports what is wrong.
    pub files: Vec<Result<PathBuf>>,
    /// What the folders hold beside photos.
    pub skipped: Skipped,
}

/// Lists the photos behind paths, and notes what folders hold beside them.
pub fn expand(paths: &[PathBuf], terminal: &Terminal) -> Photos {
    let mut photos = Photos { files: Vec::new(), skipped: Skipped::default() };
    for path in paths {
        if path.is_dir() {
            photos.add_folder(path);
        } else {
            photos.files.push(Ok(path.clone()));
        }
    }
    note_skipped(photos.skipped, terminal);
    photos
}

/// Notes what folders hold beside photos, if there is anything.
pub fn note_skipped(skipped: Skipped, terminal: &Terminal) {
    if !skipped.is_empty() {
        terminal.note(&format!("skipped {skipped}"));
    }
}

impl Photos {
    fn add_folder(&mut self, path: &Path) {
        match Folder::list(path) {
            Ok(folder) => {
                self.skipped += folder.skipped;
                if folder.photos.is_empty() {
                    self.files.push(Err(anyhow!("{}: no image is in this directory", path.display())));
                }
                self.files.extend(folder.photos.into_iter().map(Ok));
            }
            Err(error) => self.files.push(Err(error.into())),
        }
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
pub fn bytes(photo: &Path, options: &PhotoOptions) -> Result<Vec<u8>> {
    Ok(if is_standard_input(photo) {
        read_stream(photo, std::io::stdin().lock(), options)?
    } else {
        read(photo, options)?
    })
}

/// Opens a photo; returns it with the seconds that it took.
pub fn open(path: &Path, pixel_limit: u64, terminal: &Terminal) -> Result<(Photo, f64)> {
    let start = Instant::now();
    let options = PhotoOptions { pixel_limit };
    let photo = Photo::from_bytes(path, &bytes(path, &options)?, &options)?;
    terminal.warn(photo.warnings());
    Ok((photo, start.elapsed().as_secs_f64()))
}

/// The bytes of memory that a photo needs: those of its file, which is read whole, of its pixels while they are decoded,
/// and of what is drawn of it. Few if its size cannot be found: opening it reports what is wrong.
pub fn memory(photo: &Path) -> u64 {
    /// A JPEG is decoded to 8-bit pixels directly; benches/memory.py measures what is drawn.
    const OF_JPEG: u64 = 10;
    /// Other formats can have 16 bits and transparency.
    const OF_OTHERS: u64 = 16;
    if is_standard_input(photo) {
        return MEMORY;
    }
    let Ok(size) = size_in_file(photo) else { return 0 };
    let length = std::fs::metadata(photo).map_or(0, |metadata| metadata.len());
    if size.area() > MOST_BESIDE_OTHERS {
        return MEMORY.saturating_add(length);
    }
    let each = if is_jpeg(photo) { OF_JPEG } else { OF_OTHERS };
    size.area().saturating_mul(each).saturating_add(length)
}

/// An error with the photo that it is about in front, unless it names the photo already.
pub fn named(error: anyhow::Error, photo: &Option<PathBuf>) -> anyhow::Error {
    let Some(name) = photo.as_ref().map(|photo| photo.display().to_string()) else { return error };
    if error.chain().any(|cause| cause.to_string().contains(&name)) { error } else { error.context(name) }
}

fn is_jpeg(photo: &Path) -> bool {
    let mut beginning = [0; 2];
    let read = File::open(photo).and_then(|mut file| file.read_exact(&mut beginning));
    read.is_ok() && beginning == [0xff, 0xd8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_size_in_the_header() {
        let fixture = |name: &str| Path::new("tests/fixtures/photos").join(name);
        let length = |name: &str| std::fs::metadata(fixture(name)).expect("it exists").len();
        for name in ["shapes-96x64.png", "interlaced.png", "lzw.tif", "lossy.webp", "animated.gif"] {
            let pixels = Photo::open(fixture(name)).expect("a sound photo").size().area();
            assert_eq!(memory(&fixture(name)), pixels * 16 + length(name), "{name}");
        }
        assert_eq!(memory(&fixture("baseline_420.jpg")), 240 * 10 + length("baseline_420.jpg"));
        for name in ["README.md", "missing.png", ""] {
            assert_eq!(memory(&fixture(name)), 0, "{name}");
        }
        assert_eq!(memory(Path::new("-")), MEMORY);
    }

    #[test]
    fn standard_input_is_named_once() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert!(check_standard_input(&paths(&["-", "a.jpg", "./-"])).is_ok());
        assert!(check_standard_input(&paths(&["-", "a.jpg", "-"])).is_err());
        assert_eq!(naming(Path::new("-")), Path::new("stdin"));
    }
}
