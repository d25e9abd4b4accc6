//! Which photos are meant.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use image::{ImageFormat, ImageReader, Limits};

/// The endings of the files that a directory stands for; a file that is named itself may have any.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "jfif"];

/// The photos behind the paths that were typed: files as they are, directories as the images in them, by name.
/// A path that is not there stays in the list: opening it tells what is wrong.
pub fn expand(paths: &[PathBuf]) -> Vec<Result<PathBuf>> {
    paths.iter().flat_map(|path| if path.is_dir() { inside(path) } else { vec![Ok(path.clone())] }).collect()
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
