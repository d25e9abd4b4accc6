//! Which photos are meant.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use fieldmark::folder::{Folder, Skipped};
use image::{ImageFormat, ImageReader, Limits};

use crate::terminal::Terminal;

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

/// How many pixels a photo has, by its header; of a JPEG about, by the size of its file. 0 if that cannot be told: opening
/// it tells what is wrong.
pub fn pixels(photo: &Path) -> u64 {
    /// Of a JPEG as cameras make them.
    const PIXELS_PER_BYTE: u64 = 3;
    /// What a decoder may take before it decodes.
    const HEADER_BYTES: u64 = 32 << 20;
    // Whatever else can be opened may not come to an end.
    let Some(file) = std::fs::metadata(photo).ok().filter(std::fs::Metadata::is_file) else { return 0 };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(HEADER_BYTES);
    let reader = ImageReader::open(photo).and_then(ImageReader::with_guessed_format);
    match reader {
        Ok(reader) if reader.format() == Some(ImageFormat::Jpeg) => PIXELS_PER_BYTE * file.len(),
        Ok(mut reader) => {
            reader.limits(limits);
            reader.into_dimensions().map_or(0, |(width, height)| u64::from(width) * u64::from(height))
        }
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_counted_without_decoding() {
        let fixture = |name: &str| Path::new("tests/fixtures/photos").join(name);
        for name in ["shapes-96x64.png", "interlaced.png", "lzw.tif", "lossy.webp", "animated.gif"] {
            let (width, height) = image::image_dimensions(fixture(name)).expect("a sound photo");
            assert_eq!(pixels(&fixture(name)), u64::from(width * height), "{name}");
        }
        let jpeg = fixture("baseline_420.jpg");
        assert_eq!(pixels(&jpeg), 3 * std::fs::metadata(&jpeg).expect("it is there").len());
        for name in ["README.md", "missing.png", ""] {
            assert_eq!(pixels(&fixture(name)), 0, "{name}");
        }
    }
}
