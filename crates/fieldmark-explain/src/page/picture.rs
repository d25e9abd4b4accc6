//! A photo becomes a JPEG that is small enough to be a part of a page.

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{RgbImage, imageops};
use libjpeg_turbo_rs::{Encoder, PixelFormat, Subsampling};

use fieldmark_model::error::{Error, Result};

/// Qualities that are tried in turn until the picture is small enough; the last one is taken in any case.
const QUALITIES: [(u8, Subsampling); 4] =
    [(92, Subsampling::S444), (85, Subsampling::S420), (70, Subsampling::S420), (50, Subsampling::S420)];

/// The picture as a JPEG that has at most `bytes` bytes, if a quality of 50 or more can do that.
pub(super) fn jpeg(picture: &RgbImage, bytes: usize) -> Result<Vec<u8>> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut encoded = Vec::new();
    for (quality, subsampling) in QUALITIES {
        let encoder = Encoder::new(picture, width, height, PixelFormat::Rgb);
        let encoder = encoder.quality(quality).subsampling(subsampling).optimize_huffman(true);
        encoded = encoder
            .encode()
            .map_err(|error| Error::Numeric { what: "picture", reason: format!("no JPEG of it: {error}") })?;
        if encoded.len() <= bytes {
            break;
        }
    }
    Ok(encoded)
}

/// The picture at its own aspect, with at most `longest` pixels on its long side.
pub(super) fn shrunk(picture: &RgbImage, longest: u32) -> RgbImage {
    let long = picture.width().max(picture.height());
    if long <= longest {
        return picture.clone();
    }
    let side = |length: u32| {
        let scaled = f64::from(length) * f64::from(longest) / f64::from(long);
        (scaled.round() as u32).max(1)
    };
    imageops::thumbnail(picture, side(picture.width()), side(picture.height()))
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    /// Noise, which JPEG compresses worst.
    fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 1_u32;
        RgbImage::from_fn(width, height, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let [a, b, c, _] = state.to_be_bytes();
            Rgb([a, b, c])
        })
    }

    #[test]
    fn a_large_photo_becomes_small() {
        let encoded = jpeg(&shrunk(&noise(1800, 900), 1200), 600_000).unwrap();
        let decoded = libjpeg_turbo_rs::decompress(&encoded).unwrap();
        assert_eq!((decoded.width, decoded.height), (1200, 600));
        assert!(encoded.len() <= 600_000, "{} bytes", encoded.len());
    }

    #[test]
    fn a_small_photo_keeps_its_pixels_nearly() {
        let photo = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8 * 6, y as u8 * 8, 90]));
        let decoded = libjpeg_turbo_rs::decompress(&jpeg(&photo, 600_000).unwrap()).unwrap();
        let apart = decoded.data.iter().zip(photo.as_raw()).map(|(one, other)| one.abs_diff(*other)).max();
        assert!(apart.is_some_and(|levels| levels <= 12), "{apart:?}");
    }

    #[test]
    fn no_side_is_lost() {
        assert_eq!(shrunk(&RgbImage::new(9000, 2), 1200).dimensions(), (1200, 1));
    }
}
