//! JPEG bytes in, RGB pixels as stored out; anything less than the whole picture is an error.
//!
//! The format leaves the arithmetic open: how exactly to invert the cosine transform, to bring halved colour
//! back to full size, and to turn it into RGB. Other CLIP programs see what libjpeg-turbo makes of a photo,
//! so the decoder is one that computes the same bits. The `image` crate's is up to several levels off, and
//! where data is missing it paints grey and says nothing.

use image::RgbImage;
use libjpeg_turbo_rs::common::types::ComponentInfo;
use libjpeg_turbo_rs::{DecodeLimits, Decoder, JpegError, PixelFormat};

use super::decode::{Decoded, broken, truncated};
use super::exif::Exif;
use super::flatten::Flat;
use super::format::Format;
use super::header::size_in_bytes;
use super::source::Source;
use crate::error::Result;
use crate::geometry::Size;

/// Every scan of a progressive picture walks over all of it; encoders write about ten of them.
const LARGEST_SCAN_COUNT: usize = 100;

/// Decodes baseline and progressive JPEG: grey, YCbCr, RGB, CMYK and YCCK (inverted, as Adobe writes them
/// and as Pillow reads them).
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let failed = |error: JpegError| source.error(describe(&error));
    let decoder = Decoder::new_with_limits(source.bytes, limits())
        .map_err(failed)?
        .with_output_format(PixelFormat::Rgb);
    let header = decoder.header();
    // Whoever plans memory reads the header without the decoder: what it cannot know is not decoded.
    let planned = size_in_bytes(source.path, source.bytes)?;
    if planned != Size::new(header.width.into(), header.height.into()) {
        let Size { width, height } = planned;
        let sizes = format!("{width} x {height} pixels and {} x {}", header.width, header.height);
        return Err(source.error(broken(Format::Jpeg, &format!("expected one size, found {sizes}"))));
    }
    source.check_size(header.width.into(), header.height.into())?;
    if header.precision != 8 {
        return Err(source.error(unsupported(&format!("{} bits per value", header.precision))));
    }
    if !sizes_are_usual(&header.components) {
        return Err(source.error(unsupported("four colours of unlike sizes")));
    }
    if !reaches_end_of_image(source.bytes) {
        return Err(source.error(truncated(Format::Jpeg)));
    }
    let mut rgb = RgbImage::new(header.width.into(), header.height.into());
    decoder.decode_image_into(&mut rgb).map_err(failed)?;
    drop(decoder);
    Ok(Decoded { flat: Flat { rgb, is_transparent: false, is_deep: false }, exif: orientation(source.bytes) })
}

/// Leaves sizes to [`Source::check_size`].
fn limits() -> DecodeLimits {
    let side = usize::from(u16::MAX);
    let (max_width, max_height, max_pixels) = (side, side, u64::MAX);
    DecodeLimits { max_width, max_height, max_pixels, max_scans: LARGEST_SCAN_COUNT, max_memory: None }
}

/// Whether the decoder can bring the components to one size.
///
/// Where there are four, it takes the outer two to be whole and the inner two to be alike, as encoders write
/// them, and panics if they are not.
fn sizes_are_usual(components: &[ComponentInfo]) -> bool {
    let [first, second, third, fourth] = components else { return true };
    let factors = |component: &ComponentInfo| (component.horizontal_sampling, component.vertical_sampling);
    factors(first) == factors(fourth)
        && factors(second) == factors(third)
        && first.horizontal_sampling % second.horizontal_sampling == 0
        && first.vertical_sampling % second.vertical_sampling == 0
}

fn describe(error: &JpegError) -> String {
    match error {
        JpegError::UnexpectedEof => truncated(Format::Jpeg),
        JpegError::Unsupported(kind) => unsupported(kind),
        other => broken(Format::Jpeg, &other.to_string()),
    }
}

fn unsupported(kind: &str) -> String {
    format!("this kind of JPEG is not supported: {kind}")
}

/// The orientation in the segments before the picture: EXIF, which may be in several, and XMP, of which the last counts.
fn orientation(bytes: &[u8]) -> Exif {
    const EXIF: &[u8] = b"Exif\0\0";
    const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
    let mut exif: Option<Vec<u8>> = None;
    let mut xmp = None;
    let mut at = 2;
    while let Some(marker) = next_marker(bytes, &mut at) {
        match marker {
            0xd0..=0xd8 | 0x01 => continue,
            END_OF_IMAGE | START_OF_SCAN => break,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..at + 2) else { break };
        let end = at + usize::from(u16::from_be_bytes([high, low]));
        let segment = bytes.get(at + 2..end).unwrap_or_default();
        if marker == 0xe1 {
            if let Some(block) = segment.strip_prefix(EXIF) {
                exif.get_or_insert_default().extend_from_slice(block);
            }
            xmp = segment.strip_prefix(XMP).or(xmp);
        }
        at = end;
    }
    Exif::parse(exif.as_deref(), xmp)
}

const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Whether the end-of-image marker follows the last scan.
///
/// Segments are skipped by their length, so that the end marker of an embedded thumbnail does not count.
pub(super) fn reaches_end_of_image(bytes: &[u8]) -> bool {
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
