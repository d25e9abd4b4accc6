//! JPEG bytes in, RGB pixels as stored out; anything less than the whole picture is an error.
//!
//! The `image` crate's wrapper decodes leniently: where data is missing it paints grey and says nothing.
//! Here headers are read leniently, as browsers do, but the picture itself strictly.

use image::RgbImage;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{Decoded, Exif, Source, broken, truncated};
use crate::Result;

/// Decodes baseline and progressive JPEG: grey, YCbCr, RGB, CMYK and YCCK (inverted, as Adobe writes them
/// and as Pillow reads them).
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let failed = |error: DecodeErrors| source.error(describe(&error));
    let lenient = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(source.bytes), lenient);
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = match decoder.info() {
        Some(info) => (u32::from(info.width), u32::from(info.height)),
        None => return Err(source.error(truncated("JPEG"))),
    };
    source.check_size(width, height)?;
    if !reaches_end_of_image(source.bytes) {
        return Err(source.error(truncated("JPEG")));
    }
    let exif = Exif::parse(decoder.exif().map(Vec::as_slice));
    let mut rgb = RgbImage::new(width, height);
    decoder.set_options(lenient.set_strict_mode(true));
    decoder.decode_into(&mut rgb).map_err(failed)?;
    Ok(Decoded { rgb, exif })
}

fn describe(error: &DecodeErrors) -> String {
    match error {
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => truncated("JPEG"),
        DecodeErrors::Unsupported(scheme) => format!("this kind of JPEG is not supported: {scheme:?}"),
        other => broken("JPEG", &format!("{other:?}")),
    }
}

/// Whether the end-of-image marker follows the last scan.
///
/// Segments are skipped by their length, so that the end marker of an embedded thumbnail does not count.
fn reaches_end_of_image(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    const START_OF_SCAN: u8 = 0xda;
    let mut at = 2;
    loop {
        let Some(marker) = next_marker(bytes, &mut at) else { return false };
        match marker {
            END_OF_IMAGE => return true,
            // These stand alone: restart markers, start of image, and the obsolete "temporary" one.
            0xd0..=0xd8 | 0x01 => continue,
            _ => {}
        }
        let Some(length) = bytes.get(at..at + 2) else { return false };
        at += usize::from(u16::from_be_bytes([length[0], length[1]]));
        if marker == START_OF_SCAN {
            skip_entropy_coded_data(bytes, &mut at);
        }
    }
}

/// Finds the next marker at or after `at`, and moves `at` past it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let pair = bytes.get(*at..*at + 2)?;
        match *pair {
            [0xff, marker] if marker != 0xff && marker != 0 => {
                *at += 2;
                return Some(marker);
            }
            _ => *at += 1,
        }
    }
}

/// Moves `at` to the marker that ends a scan: one that is neither a stuffed zero nor a restart marker.
fn skip_entropy_coded_data(bytes: &[u8], at: &mut usize) {
    while let Some(pair) = bytes.get(*at..*at + 2) {
        match *pair {
            [0xff, 0x00 | 0xff | 0xd0..=0xd7] => *at += 1,
            [0xff, _] => return,
            _ => *at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_count() {
        let start = [0xff, 0xd8, 0xff, 0xe1, 0, 6, 0xff, 0xd9, 0, 0];
        let scan = [0xff, 0xda, 0, 2, 1, 0xff, 0, 0xff, 0xd0, 2];
        let whole = [&start[..], &scan, &[0xff, 0xd9]].concat();
        assert!(reaches_end_of_image(&whole));
        assert!((0..whole.len()).all(|length| !reaches_end_of_image(&whole[..length])));
    }
}
