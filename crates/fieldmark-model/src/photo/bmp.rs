//! BMP bytes in, RGB pixels out. An alpha channel that is zero everywhere is one that was never filled in.

use std::io::Cursor;

use image::DynamicImage;

use super::decode::{Decoded, pixels};
use super::exif::Exif;
use super::flatten::{flatten, is_transparent};
use super::format::Format;
use super::source::Source;
use crate::error::Result;

/// Decodes a BMP of any header.
pub(super) fn decode(source: &Source<'_>) -> Result<Decoded> {
    let mut pixels = pixels(source, Format::Bmp, Cursor::new(source.bytes))?;
    if let DynamicImage::ImageRgba8(rgba) = &mut pixels
        && is_transparent(rgba)
    {
        rgba.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
    }
    Ok(Decoded { flat: flatten(pixels), exif: Exif::Silent })
}
