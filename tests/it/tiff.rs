//! TIFF of every kind: what reports brought, what other programs write, and what is refused by its name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fieldmark::error::FormatKind;
use fieldmark::photo::size_in_bytes;
use fieldmark::{Error, Photo, PhotoOptions};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiff")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn decode(bytes: &[u8]) -> fieldmark::Result<Photo> {
    Photo::from_bytes("test", bytes, &PhotoOptions::default().pixel_limit(100_000))
}

fn files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "tif")).collect();
    files.sort();
    files
}

#[derive(Deserialize)]
struct Decoded {
    size: [u32; 2],
    rgb: String,
}

fn expected() -> BTreeMap<String, Decoded> {
    serde_json::from_slice(&read("expected.json")).unwrap()
}

fn hex(rgb: &[u8]) -> String {
    rgb.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn files_of_reports_look_as_they_should() {
    let mut compared = 0;
    for path in files() {
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
fn files_of_every_kind_look_as_they_were_written() {
    let expected = expected();
    assert!(expected.len() > 50);
    for (name, expected) in &expected {
        let bytes = read(name);
        let photo = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!([photo.size().width, photo.size().height], expected.size, "{name}");
        assert!(hex(photo.rgb().as_raw()) == expected.rgb, "{name} differs");
        assert_eq!(size_in_bytes(name, &bytes).unwrap(), photo.size(), "{name}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_its_name() {
    for (name, expected) in
        [("lerc", "LERC"), ("lzma", "LZMA"), ("jpeg2000", "JPEG 2000"), ("jpegxl", "JPEG XL")]
    {
        let message = decode(&read(&format!("refused_{name}.tif"))).unwrap_err().to_string();
        assert_eq!(message, format!("test: this kind of TIFF is not supported: {expected} compression"));
    }
}

#[test]
fn a_raw_photo_is_refused_and_its_preview_is_not_taken() {
    for (name, expected) in [("dng_thumbnail_first.dng", "DNG"), ("refused_raw.tif", "a camera's raw format")]
    {
        let error = Photo::open(folder().join(name)).unwrap_err();
        let Error::UnsupportedFormat { format, kind: FormatKind::CameraRaw, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(format, expected);
    }
}

#[test]
fn a_truncated_file_is_an_error_or_the_whole_picture() {
    for (name, expected) in expected() {
        let bytes = read(&name);
        for length in (0..bytes.len()).step_by(if bytes.len() > 3000 { 29 } else { 3 }) {
            if let Ok(photo) = decode(&bytes[..length]) {
                assert!(hex(photo.rgb().as_raw()) == expected.rgb, "{name}: {length} of {}", bytes.len());
            }
        }
    }
}

#[test]
fn mutated_files_are_photos_or_errors() {
    let rounds = std::env::var("FIELDMARK_ATTACK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let (mut photos, mut errors) = (0, 0);
    let files: Vec<_> = files().iter().map(|path| std::fs::read(path).unwrap()).collect();
    for _ in 0..rounds.unwrap_or(60) {
        for bytes in &files {
            let mut bytes = bytes.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[at] = random.random(),
                    1 => bytes[at] ^= 1 << random.random_range(0..8),
                    2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
                    _ => bytes.truncate(at.max(bytes.len() / 2)),
                }
            }
            match decode(&bytes) {
                Ok(photo) => {
                    assert!(photo.size().area() <= 100_000);
                    photos += 1;
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(!message.contains("its decoder failed"), "{message}");
                    errors += 1;
                }
            }
        }
    }
    println!("{} mutated TIFF files: {photos} photos, {errors} errors", photos + errors);
}

/// A picture of 2 x 1 grey pixels, white and black, with more fields of one value each: tag, type, count, value or place.
fn two_pixels(more: &[(u16, u16, u32, u32)], extra: &[u8]) -> Vec<u8> {
    let mut fields = vec![
        (256, 3, 1, 2),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (279, 4, 1, 2),
    ];
    fields.extend_from_slice(more);
    fields.sort_unstable();
    let mut bytes = b"II*\0\x0c\0\0\0\xff\0\0\0".to_vec();
    bytes.extend((fields.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in fields {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(kind));
        bytes.extend(u32::to_le_bytes(count));
        bytes.extend(u32::to_le_bytes(value));
    }
    bytes.extend([0; 4]);
    bytes.extend(extra);
    bytes
}

#[test]
fn orientation_is_read_from_every_type_and_from_xmp() {
    let turned = |bytes: &[u8]| decode(bytes).unwrap().rgb().as_raw()[0] == 0;
    assert!(!turned(&two_pixels(&[], &[])));
    // Half a turn as byte, short, long, signed byte, signed short and signed long.
    for kind in [1, 3, 4, 6, 8, 9] {
        assert!(turned(&two_pixels(&[(274, kind, 1, 3)], &[])), "{kind}");
    }
    assert!(!turned(&two_pixels(&[(274, 3, 1, 99)], &[])));
    let xmp = br#"<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>"#;
    let place = two_pixels(&[(700, 1, xmp.len() as u32, 0)], &[]).len() as u32;
    let field = (700, 1, xmp.len() as u32, place);
    assert!(turned(&two_pixels(&[field], xmp)));
    assert!(!turned(&two_pixels(&[(274, 3, 1, 1), field], xmp)), "TIFF's own field counts first");
}

#[test]
fn a_photo_that_is_transparent_everywhere_is_a_warning() {
    let alpha = |value: u8| {
        let mut bytes = two_pixels(&[(338, 3, 1, 2)], &[]);
        // One pixel of grey and alpha.
        let at = bytes.windows(4).position(|field| field == [0x15, 1, 3, 0]).unwrap();
        bytes[at + 8] = 2;
        bytes[22] = 1;
        bytes[9] = value;
        decode(&bytes).unwrap()
    };
    assert_eq!(alpha(0).warnings().len(), 1);
    assert_eq!(alpha(1).warnings().len(), 0);
}
