//! Which photos are meant, and the memory that each needs.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use fieldmark_model::{
    error::{Error, Result},
    folder::{Folder, Skipped},
    photo::size_in_file,
};

/// The bytes that all photos at work may take together, with everything that is drawn of them. A photo that needs more
/// is at work alone.
pub const MEMORY: u64 = 768 << 20;

/// A photo with more pixels is at work alone.
const MOST_BESIDE_OTHERS: u64 = 40_000_000;

/// The photos behind paths.
#[derive(Debug, Default)]
pub struct Photos {
    /// Files as they were named, and the photos of folders by name. A path that does not exist is among them: opening it
    /// reports what is wrong. Of a folder that cannot be read or has no photo, there is its error.
    pub files: Vec<Result<PathBuf>>,
    /// What the folders hold beside photos.
    pub skipped: Skipped,
}

impl Photos {
    /// Lists files and the photos of folders, by their names alone: no photo is opened.
    pub fn of(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Self {
        let mut photos = Self::default();
        for path in paths {
            let path = path.as_ref();
            if path.is_dir() {
                photos.add_folder(path);
            } else {
                photos.files.push(Ok(path.to_owned()));
            }
        }
        photos
    }

    fn add_folder(&mut self, path: &Path) {
        match Folder::list(path) {
            Ok(folder) => {
                self.skipped += folder.skipped;
                if folder.photos.is_empty() {
                    self.files.push(Err(Error::NoPhotos { path: path.into() }));
                }
                self.files.extend(folder.photos.into_iter().map(Ok));
            }
            Err(error) => self.files.push(Err(error)),
        }
    }
}

/// The bytes of memory that a photo needs: those of its file, which is read whole, of its pixels while they are decoded,
/// and of what is drawn of it. Few if its size cannot be found: opening it reports what is wrong.
pub fn memory(photo: &Path) -> u64 {
    /// A JPEG is decoded to 8-bit pixels directly; benches/memory.py measures what is drawn.
    const OF_JPEG: u64 = 10;
    /// Other formats can have 16 bits and transparency.
    const OF_OTHERS: u64 = 16;
    /// Of a larger file the size may lie where the header's reader does not look.
    const OF_A_HEADER: u64 = 4 << 20;
    let length = std::fs::metadata(photo).map_or(0, |metadata| metadata.len());
    let Ok(size) = size_in_file(photo) else { return if length > OF_A_HEADER { MEMORY } else { 0 } };
    if size.area() > MOST_BESIDE_OTHERS {
        return MEMORY.saturating_add(length);
    }
    let each = if is_jpeg(photo) { OF_JPEG } else { OF_OTHERS };
    size.area().saturating_mul(each).saturating_add(length)
}

fn is_jpeg(photo: &Path) -> bool {
    let mut beginning = [0; 2];
    let read = File::open(photo).and_then(|mut file| file.read_exact(&mut beginning));
    read.is_ok() && beginning == [0xff, 0xd8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::photo::Photo;

    #[test]
    fn memory_follows_the_size_in_the_header() {
        let fixture = |name: &str| Path::new("../../tests/fixtures/photos").join(name);
        let length = |name: &str| std::fs::metadata(fixture(name)).expect("it exists").len();
        for name in ["shapes-96x64.png", "interlaced.png", "lzw.tif", "lossy.webp", "animated.gif"] {
            let pixels = Photo::open(fixture(name)).expect("a sound photo").size().area();
            assert_eq!(memory(&fixture(name)), pixels * 16 + length(name), "{name}");
        }
        assert_eq!(memory(&fixture("baseline_420.jpg")), 240 * 10 + length("baseline_420.jpg"));
        for name in ["README.md", "missing.png", ""] {
            assert_eq!(memory(&fixture(name)), 0, "{name}");
        }
    }

    #[test]
    fn a_folder_without_photos_is_an_error_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let photos = Photos::of([Path::new("a.png"), folder.path(), Path::new("b.png")]);
        assert!(matches!(&photos.files[..], [Ok(_), Err(Error::NoPhotos { .. }), Ok(_)]));
    }
}
