//! Photos that break the rules of their formats, or use what few files use: read as Pillow or browsers read them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fieldmark::{Photo, PhotoOptions};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use serde::Deserialize;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photos").join(name)
}

#[derive(Deserialize)]
struct Expected {
    size: [u32; 2],
    rgb: String,
}

#[test]
fn odd_files_decode_as_in_pillow_or_browsers() {
    let folder = folder("odd");
    let expected: BTreeMap<String, Expected> =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    assert!(expected.len() > 70);
    let mut wrong = Vec::new();
    for (name, expected) in &expected {
        let photo = match Photo::open(folder.join(name)) {
            Ok(photo) => photo,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let rgb: String = photo.rgb().as_raw().iter().map(|value| format!("{value:02x}")).collect();
        let allowed = if name == "narrow_lossy_alpha.webp" { 1 } else { 0 };
        let size = [photo.size().width, photo.size().height];
        if size != expected.size || largest_difference(&rgb, &expected.rgb) > allowed {
            wrong.push(format!("{name}: {size:?}, expected {:?}: {rgb}", expected.size));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn largest_difference(found: &str, expected: &str) -> u8 {
    let values = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks_exact(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    };
    values(found).iter().zip(values(expected)).map(|(a, b)| a.abs_diff(b)).max().unwrap()
}

#[test]
fn files_of_reports_decode_as_expected() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder("reports")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".expected.png") {
            continue;
        }
        let expected = image::open(path.with_extension("expected.png")).unwrap().into_rgb8();
        let photo = Photo::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(*photo.rgb() == expected, "{}", path.display());
        assert!(photo.warnings().is_empty(), "{:?}", photo.warnings());
        count += 1;
    }
    assert!(count >= 5);
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn warnings(bytes: &[u8]) -> Vec<String> {
    let photo = Photo::from_bytes("odd.png", bytes, &PhotoOptions::default()).unwrap();
    photo.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn a_photo_that_is_transparent_everywhere_has_a_warning() {
    let rgba = |alpha: fn(u32, u32) -> u8| {
        RgbaImage::from_fn(9, 7, move |x, y| Rgba([x as u8, y as u8, 3, alpha(x, y)]))
    };
    let expected = "odd.png: every pixel is transparent, so the photo is white";
    assert_eq!(warnings(&png(rgba(|_, _| 0))), [expected]);
    assert_eq!(warnings(&png(rgba(|x, y| u8::from(x + y == 0)))), [""; 0]);
    let deep = ImageBuffer::from_pixel(9, 7, Rgba([1000_u16, 30_000, 60_000, 0]));
    assert_eq!(warnings(&png(deep)), [expected]);
}

#[test]
fn a_deep_photo_of_almost_no_tones_has_a_warning() {
    let grey =
        |value: fn(u32) -> u16| png(ImageBuffer::from_fn(64, 64, move |x, y| Luma([value(x + 64 * y)])));
    let twelve_bits = warnings(&grey(|at| at as u16));
    assert_eq!(twelve_bits.len(), 1);
    assert!(twelve_bits[0].contains("only 17 tones of 256"), "{twelve_bits:?}");
    // A fog of a tenth of the range, a night with one lamp, and all of the range.
    assert_eq!(warnings(&grey(|at| 30_000 + at as u16 * 2)), [""; 0]);
    assert_eq!(warnings(&grey(|at| at as u16 * 2)), [""; 0]);
    assert_eq!(warnings(&grey(|at| at as u16 * 16)), [""; 0]);
    // Of 8 bits a photo may be as flat as it likes.
    assert_eq!(warnings(&png(RgbImage::from_pixel(8, 8, Rgb([7; 3])))), [""; 0]);
}
