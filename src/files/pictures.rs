//! Pictures and arrays as files: PNG, with colours or with numbers, and NumPy's `.npy`.

use std::io::{self, Write};
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, GrayImage, ImageEncoder};

use super::write::write_atomically;
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;

/// Writes a PNG, compressed for speed.
///
/// # Errors
/// [`Error::Write`] as [`write_atomically`] has it.
pub fn save_png(path: &Path, picture: &DynamicImage) -> Result<()> {
    // Encoded first: the encoder would hide what the operating system says about writing.
    write_atomically(path, |file| file.write_all(&png(picture)?))
}

/// A picture as a PNG, compressed for speed.
///
/// # Errors
/// If the picture has no pixels.
pub fn png(picture: &DynamicImage) -> io::Result<Vec<u8>> {
    let mut encoded = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut encoded, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = (picture.width(), picture.height());
    let written = encoder.write_image(picture.as_bytes(), width, height, picture.color().into());
    written.map_err(io::Error::other).map(|()| encoded)
}

/// Writes a PNG with indexed colours: the picture's numbers are stored as they are, and programs that show it look their
/// colours up in the palette. This is how segmentation data sets keep labels.
///
/// # Errors
/// [`Error::Write`] as [`write_atomically`] has it, or if the picture has no pixels or a number without a colour.
pub fn save_indexed_png(path: &Path, numbers: &GrayImage, colors: &[[u8; 3]]) -> Result<()> {
    write_atomically(path, |file| file.write_all(&indexed_png(numbers, colors)?))
}

fn indexed_png(numbers: &GrayImage, colors: &[[u8; 3]]) -> io::Result<Vec<u8>> {
    let largest = numbers.as_raw().iter().copied().max().map_or(0, usize::from);
    let Some(colors) = colors.get(..=largest) else {
        let found = format!("{} colours expected, {} found", largest + 1, colors.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
    };
    let mut encoded = Vec::new();
    let mut encoder = png::Encoder::new(&mut encoded, numbers.width(), numbers.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colors.concat());
    encoder.write_header()?.write_image_data(numbers.as_raw())?;
    Ok(encoded)
}

/// Writes an array of `shape` (rows, columns) as NumPy's `.npy`: version 1.0, float32, row by row.
///
/// # Errors
/// [`Error::Write`] as [`write_atomically`] has it, or if there are not rows x columns values.
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

/// Magic, version, the length of the description, and the description, padded so that the data begin at a
/// multiple of 64 bytes.
fn npy_header(shape: [usize; 2]) -> Vec<u8> {
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
        let encoded = indexed_png(&numbers, &colors).expect("every number has a colour");
        let mut reader = png::Decoder::new(std::io::Cursor::new(&encoded)).read_info().expect("it is a PNG");
        let mut found = [1; 2];
        reader.next_frame(&mut found).expect("it has pixels");
        assert_eq!(found, [2, 0]);
        let shown = image::load_from_memory(&encoded).expect("it is a PNG").into_rgb8();
        assert_eq!(shown.as_raw(), &[255, 0, 5, 0, 0, 0]);
        assert!(indexed_png(&numbers, &colors[..2]).is_err(), "2 has no colour");
    }
}
