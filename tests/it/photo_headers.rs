//! What is known of a photo before it is decoded: its format and its size.

use std::path::{Path, PathBuf};

use fieldmark::error::FormatKind;
use fieldmark::geometry::Size;
use fieldmark::photo::{LONGEST_SIDE, SUPPORTED_FORMATS, size_in_bytes, size_in_file};
use fieldmark::{Error, Photo, PhotoOptions};

fn photos() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photos");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let others = ["md", "json", "py"].map(|ending| Some(std::ffi::OsStr::new(ending)));
    let photos: Vec<PathBuf> =
        paths.filter(|path| path.is_file() && !others.contains(&path.extension())).collect();
    assert!(photos.len() > 30);
    photos
}

fn lying_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend(*b"\x08\x02\0\0\0\0\0\0\0");
    bytes
}

#[test]
fn the_size_in_the_header_is_that_of_the_decoded_photo() {
    for path in photos() {
        let photo = Photo::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let found = size_in_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let turned = Size::new(found.height, found.width);
        assert!([found, turned].contains(&photo.size()), "{}: {found:?}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(size_in_bytes("bytes", &bytes).unwrap(), found, "{}", path.display());
        for length in (0..bytes.len()).step_by(7) {
            // It is found or an error, and never another one.
            let cut = size_in_bytes("cut", &bytes[..length]);
            assert!(cut.is_err() || cut.is_ok_and(|cut| cut == found), "{}: {length}", path.display());
        }
    }
}

#[test]
fn what_has_no_size_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.jpg");
    std::fs::write(&file, "no photo").unwrap();
    let error = size_in_file(&file).unwrap_err();
    assert!(matches!(&error, Error::Image { path, .. } if *path == file), "{error}");
    assert!(matches!(size_in_file(folder.path()).unwrap_err(), Error::Read { .. }));
    assert!(matches!(size_in_file(folder.path().join("missing")).unwrap_err(), Error::Read { .. }));
    let error = size_in_bytes("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic").unwrap_err();
    assert!(matches!(&error, Error::UnsupportedFormat { kind: FormatKind::Picture, .. }), "{error}");
    assert!(error.to_string().ends_with(&format!("HEIC is not supported; supported: {SUPPORTED_FORMATS}")));
}

#[test]
fn a_side_has_a_limit_of_its_own() {
    let refusal = |width, height| {
        Photo::from_bytes("long.png", &lying_png(width, height), &PhotoOptions::default()).unwrap_err()
    };
    for (width, height) in [(1, 40_000_000), (65_536, 1)] {
        let error = refusal(width, height);
        assert!(matches!(error, Error::ImageSideTooLong { limit: LONGEST_SIDE, .. }), "{error}");
    }
    let message = refusal(1, 40_000_000).to_string();
    let expected = "the image has 1 x 40000000 pixels, and a side is longer than the limit of 65535";
    assert_eq!(message, format!("long.png: {expected}"));
    assert!(matches!(refusal(1, 300_000_000), Error::ImageTooLarge { .. }));
    assert!(matches!(refusal(1, 65_535), Error::Image { .. }));
}
