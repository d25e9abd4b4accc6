//! TIFF of every kind: what reports brought, what other programs write, and what is refused by its name.

use std::path::{Path, PathBuf};

use fieldmark::error::FormatKind;
use fieldmark::{Error, Photo};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiff")
}

fn files(ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    files.sort();
    files
}

#[test]
fn files_of_reports_look_as_they_should() {
    let mut compared = 0;
    for path in files("tif") {
        let expected = path.with_extension("expected.png");
        if !expected.exists() {
            continue;
        }
        let expected = image::open(expected).unwrap().into_rgb8();
        let photo = Photo::open(&path).unwrap();
        assert_eq!(photo.rgb().dimensions(), expected.dimensions(), "{}", path.display());
        let difference = photo.rgb().as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
        // Colours that were multiplied by alpha were cut off to whole numbers then.
        let allowed = u8::from(path.ends_with("tiff_premultiplied_alpha.tif"));
        assert!(difference.max() <= Some(allowed), "{}", path.display());
        compared += 1;
    }
    assert_eq!(compared, 8);
}

#[test]
fn a_raw_photo_is_refused_and_its_preview_is_not_taken() {
    let error = Photo::open(folder().join("dng_thumbnail_first.dng")).unwrap_err();
    assert!(
        matches!(&error, Error::UnsupportedFormat { format, kind: FormatKind::CameraRaw, .. } if format == "DNG"),
        "{error}"
    );
}
