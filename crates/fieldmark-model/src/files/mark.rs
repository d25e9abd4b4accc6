//! The mark that PNGs bear, so that they are never taken for photos: a `tEXt` chunk before the pixels.

use std::path::Path;

/// What PNGs that are written here say of their origin, in a `tEXt` chunk `Software`: this word, and the kind of file.
pub const SOFTWARE: &str = "fieldmark";

/// The mark of a file: fieldmark and the file's kind, which stands before the ending of its name.
pub(super) fn software(path: &Path) -> String {
    let stem = path.file_stem().map(Path::new);
    match stem.and_then(Path::extension).and_then(|kind| kind.to_str()) {
        // Text chunks hold Latin-1.
        Some(kind) if kind.is_ascii() => format!("{SOFTWARE} {kind}"),
        _ => SOFTWARE.to_owned(),
    }
}

/// Whether a PNG that begins so was written here: whether it has the mark ([`SOFTWARE`]) before its pixels.
pub fn is_own_png(beginning: &[u8]) -> bool {
    let Some(mut chunks) = beginning.strip_prefix(b"\x89PNG\r\n\x1a\n") else { return false };
    loop {
        let Some((length, rest)) = chunks.split_first_chunk::<4>() else { return false };
        let Some((name, rest)) = rest.split_first_chunk::<4>() else { return false };
        let Some(data) = rest.get(..u32::from_be_bytes(*length) as usize) else { return false };
        match name {
            b"IDAT" => return false,
            b"tEXt" if is_own_mark(data) => return true,
            _ => {}
        }
        // A checksum follows the data.
        let Some(rest) = rest.get(data.len() + 4..) else { return false };
        chunks = rest;
    }
}

fn is_own_mark(text: &[u8]) -> bool {
    let value = text.strip_prefix(b"Software\0").and_then(|value| value.strip_prefix(SOFTWARE.as_bytes()));
    value.is_some_and(|kind| kind.is_empty() || kind.starts_with(b" "))
}

#[cfg(test)]
mod tests {
    use image::DynamicImage;

    use super::*;
    use crate::files::{png as encoded, save_png};

    #[test]
    fn pictures_say_that_fieldmark_wrote_them_and_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.red.overlay.png");
        let picture: DynamicImage = image::RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3])).into();
        save_png(&path, &picture).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        let texts = &reader.info().uncompressed_latin1_text;
        assert_eq!((texts[0].keyword.as_str(), texts[0].text.as_str()), ("Software", "fieldmark overlay"));
        assert_eq!(image::load_from_memory(&bytes).unwrap(), picture);
        assert!(is_own_png(&bytes) && is_own_png(&encoded(&picture).unwrap()));
        let mut other = Vec::new();
        let mut encoder = png::Encoder::new(&mut other, 1, 1);
        encoder.add_text_chunk("Software".into(), "fieldmarker".into()).unwrap();
        encoder.write_header().unwrap().write_image_data(&[0]).unwrap();
        assert!(!is_own_png(&other), "another program's");
        for length in 0..bytes.len() {
            // The header of 33 bytes and the mark's length, name and text.
            assert_eq!(is_own_png(&bytes[..length]), length >= 33 + 8 + "Software fieldmark overlay".len());
        }
    }
}
