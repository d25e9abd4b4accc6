//! Pictures and arrays as files: PNG, with colours or with numbers, and NumPy's `.npy`.

use std::io::{self, Write};
use std::path::Path;

use image::{ColorType, DynamicImage, GrayImage};

#[cfg(test)]
use super::mark::is_own_png;
use super::mark::{SOFTWARE, software};
use super::write::write_atomically;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;

/// Writes a PNG, compressed for speed. Its kind, the part of the name before the ending, is noted in it beside
/// [`SOFTWARE`].
///
/// # Errors
/// [`Error::Write`] as in [`write_atomically`].
pub fn save_png(path: &Path, picture: &DynamicImage) -> Result<()> {
    write_atomically(path, |file| write_png(file, picture, &software(path)))
}

/// A picture as a PNG, compressed for speed.
///
/// # Errors
/// If the picture has no pixels.
pub fn png(picture: &DynamicImage) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    write_png(&mut encoded, picture, SOFTWARE)?;
    Ok(encoded)
}

fn write_png(to: impl Write, picture: &DynamicImage, software: &str) -> io::Result<()> {
    let mut encoder = png::Encoder::new(to, picture.width(), picture.height());
    encoder.set_color(match picture.color() {
        ColorType::L8 => png::ColorType::Grayscale,
        ColorType::La8 => png::ColorType::GrayscaleAlpha,
        ColorType::Rgb8 => png::ColorType::Rgb,
        ColorType::Rgba8 => png::ColorType::Rgba,
        other => {
            let found = format!("8 bits for each channel expected, {other:?} found");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
        }
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Adaptive);
    write_pixels(encoder, picture.as_bytes(), software)
}

/// Writes the pixels of a picture whose encoder is set up. Only the compressed pixels are in memory beside the picture.
fn write_pixels<W: Write>(mut encoder: png::Encoder<'_, W>, pixels: &[u8], software: &str) -> io::Result<()> {
    encoder.add_text_chunk("Software".into(), software.into()).map_err(encoding_failed)?;
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(pixels)?;
        writer.finish()
    });
    written.map_err(encoding_failed)
}

/// What the operating system said, if it was that.
fn encoding_failed(error: png::EncodingError) -> io::Error {
    match error {
        png::EncodingError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// Writes a PNG with indexed colours: the picture's numbers are stored as they are, and programs that show it look their
/// colours up in the palette. This is how segmentation data sets keep labels.
///
/// # Errors
/// [`Error::Write`] as in [`write_atomically`], or if the picture has no pixels or a number without a colour.
pub fn save_indexed_png(path: &Path, numbers: &GrayImage, colors: &[[u8; 3]]) -> Result<()> {
    write_atomically(path, |file| write_indexed_png(file, numbers, colors, &software(path)))
}

fn write_indexed_png(
    to: impl Write,
    numbers: &GrayImage,
    colors: &[[u8; 3]],
    software: &str,
) -> io::Result<()> {
    let largest = numbers.as_raw().iter().copied().max().map_or(0, usize::from);
    let Some(colors) = colors.get(..=largest) else {
        let found = format!("{} colours expected, {} found", largest + 1, colors.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
    };
    let mut encoder = png::Encoder::new(to, numbers.width(), numbers.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colors.concat());
    write_pixels(encoder, numbers.as_raw(), software)
}

/// Writes an array of `shape` (rows, columns) as NumPy's `.npy`: version 1.0, float32, row by row.
///
/// # Errors
/// [`Error::Write`] as in [`write_atomically`], or if there are not rows x columns values.
pub fn save_npy(path: &Path, values: &[f32], shape: [usize; 2]) -> Result<()> {
    write_atomically(path, |file| {
        if shape[0].checked_mul(shape[1]) != Some(values.len()) {
            let found = format!("{} x {} values expected, {} found", shape[0], shape[1], values.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
        }
        file.write_all(&npy_header(shape))?;
        values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))
    })
}

/// The same array as the bytes of such a file; `values` has rows x columns values.
pub fn npy(values: &[f32], shape: [usize; 2]) -> Vec<u8> {
    let mut bytes = npy_header(shape);
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// Magic, version, the length of the description, and the description, padded so that the data begin at a
/// multiple of 64 bytes.
pub(super) fn npy_header(shape: [usize; 2]) -> Vec<u8> {
    const BEFORE_DESCRIPTION: usize = 10;
    let mut description =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", shape[0], shape[1]);
    let total = (BEFORE_DESCRIPTION + description.len() + 1).next_multiple_of(64);
    while BEFORE_DESCRIPTION + description.len() + 1 < total {
        description.push(' ');
    }
    description.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // Two numbers of at most 20 digits: the description always fits 16 bits.
    header.extend((description.len() as u16).to_le_bytes());
    header.extend(description.into_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_has_an_aligned_header_and_little_endian_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.npy");
        save_npy(&path, &[1.0, -2.5, 0.0, 3.0, 4.0, 5.0], [2, 3]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let description = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert_eq!(description.trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        assert!(description.ends_with(" \n"));
        assert_eq!(bytes[10 + length..][4..8], (-2.5f32).to_le_bytes());
        assert_eq!(bytes.len(), 10 + length + 24);
    }

    #[test]
    fn npy_refuses_a_shape_that_does_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        assert!(save_npy(&folder.path().join("map.npy"), &[1.0; 5], [2, 3]).is_err());
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn indexed_pictures_keep_their_numbers_and_have_colours() {
        let numbers = GrayImage::from_raw(2, 1, vec![2, 0]).expect("two pixels");
        let colors = [[0; 3], [9, 8, 7], [255, 0, 5]];
        let mut encoded = Vec::new();
        write_indexed_png(&mut encoded, &numbers, &colors, SOFTWARE).expect("every number has a colour");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&encoded)).read_info().expect("it is a PNG");
        let mut found = [1; 2];
        reader.next_frame(&mut found).expect("it has pixels");
        assert_eq!(found, [2, 0]);
        let shown = image::load_from_memory(&encoded).expect("it is a PNG").into_rgb8();
        assert_eq!(shown.as_raw(), &[255, 0, 5, 0, 0, 0]);
        let refused = write_indexed_png(io::sink(), &numbers, &colors[..2], SOFTWARE);
        assert!(refused.is_err(), "2 has no colour");
        assert!(is_own_png(&encoded));
    }
}
