//! Bytes of a known format become pixels as stored, and how to turn them.

use std::io::{BufRead, Seek};

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use super::exif::Exif;
use super::flatten::Flat;
use super::format::Format;
use super::source::Source;
use super::{bmp, gif, jpeg, png, tiff, webp};
use crate::error::Result;
use crate::geometry::Size;
use crate::guard::guarded;

/// Metadata, palettes and the like may take this much memory beside the pixels.
const OVERHEAD_BYTES: u64 = 256 << 20;

/// The memory that an image of so many pixels may need: 16 bytes a pixel (RGBA in 32-bit floats).
pub fn memory_limit(pixels: u64) -> u64 {
    pixels.saturating_mul(16).saturating_add(OVERHEAD_BYTES).min(u64::from(u32::MAX) << 8)
}

/// What the decoders give: pixels as stored, and how to turn them.
pub(super) struct Decoded {
    pub(super) flat: Flat,
    pub(super) exif: Exif,
}

/// Decodes a photo. A decoder that panics makes this photo an error.
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let format = source.format()?;
    let decoded = guarded(|| match format {
        Format::Jpeg => jpeg::decode(source),
        Format::Png => png::decode(source),
        Format::WebP => webp::decode(source),
        Format::Gif => gif::decode(source),
        Format::Bmp => bmp::decode(source),
        Format::Tiff => tiff::decode(source),
    });
    decoded.unwrap_or_else(|panicked| Err(source.error(broken(format, &panicked.to_string()))))
}

/// Decodes with the `image` crate.
pub(super) fn pixels<'a>(
    source: &Source<'_>,
    format: Format,
    reader: impl BufRead + Seek + 'a,
) -> Result<DynamicImage> {
    let decoder = open(source, format, reader)?;
    DynamicImage::from_decoder(decoder).map_err(|error| source.error(describe(format, &error)))
}

/// Opens a decoder of the `image` crate, and checks the size of its picture.
fn open<'a>(
    source: &Source<'_>,
    format: Format,
    reader: impl BufRead + Seek + 'a,
) -> Result<impl ImageDecoder + 'a> {
    let broken = |error: ImageError| source.error(describe(format, &error));
    let mut reader = ImageReader::with_format(reader, format.into());
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(OVERHEAD_BYTES);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    source.check_size(width, height)?;
    limits.max_alloc = Some(memory_limit(Size::new(width, height).area()));
    decoder.set_limits(limits).map_err(broken)?;
    Ok(decoder)
}

/// Says in one line what a decoder found.
fn describe(format: Format, error: &ImageError) -> String {
    match error {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => truncated(format),
        ImageError::Unsupported(kind) => format!("this kind of {format} is not supported: {kind}"),
        ImageError::Limits(_) => {
            format!("the {format} data wants more memory than an image of its size needs")
        }
        other => broken(format, &other.to_string()),
    }
}

pub(super) fn truncated(format: Format) -> String {
    format!("the {format} data is truncated: it ends before the picture does")
}

pub(super) fn broken(format: Format, details: &str) -> String {
    format!("the {format} data is broken: {details}")
}
