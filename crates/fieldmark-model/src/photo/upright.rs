//! Stored pixels are turned as the metadata says.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use rayon::prelude::*;

/// Turns stored pixels as the metadata says.
pub(super) fn turn_upright(rgb: RgbImage, orientation: Orientation) -> RgbImage {
    use Orientation::{NoTransforms, Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        NoTransforms => rgb,
        Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH => swap_sides(&rgb, orientation),
        _ => {
            let mut turned = DynamicImage::ImageRgb8(rgb);
            turned.apply_orientation(orientation);
            turned.into_rgb8()
        }
    }
}

/// The four orientations that make rows of columns, some columns at a time.
///
/// Phones store upright photos lying down, and walking whole columns of them takes longer than to decode
/// them: every pixel of a column is in another cache line.
fn swap_sides(rgb: &RgbImage, orientation: Orientation) -> RgbImage {
    const BAND: usize = 16;
    let (columns, rows) = (rgb.width() as usize, rgb.height() as usize);
    let columns_reversed = matches!(orientation, Orientation::Rotate270 | Orientation::Rotate270FlipH);
    let rows_reversed = matches!(orientation, Orientation::Rotate90 | Orientation::Rotate270FlipH);
    let mut out = RgbImage::new(rgb.height(), rgb.width());
    out.par_chunks_mut(BAND * rows * 3).enumerate().for_each(|(band, to)| {
        let first = band * BAND;
        let count = to.len() / (rows * 3);
        for (row, from) in rgb.chunks_exact(columns * 3).enumerate() {
            let x = if rows_reversed { rows - 1 - row } else { row };
            for y in 0..count {
                let column = if columns_reversed { columns - 1 - first - y } else { first + y };
                let at = (y * rows + x) * 3;
                to[at..at + 3].copy_from_slice(&from[column * 3..column * 3 + 3]);
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_orientation_is_that_of_the_image_crate() {
        // Wider than a band, so that its borders are crossed.
        let rgb = RgbImage::from_fn(150, 7, |x, y| image::Rgb([x as u8, y as u8, 9]));
        for orientation in (1..=8).filter_map(Orientation::from_exif) {
            let mut expected = DynamicImage::ImageRgb8(rgb.clone());
            expected.apply_orientation(orientation);
            assert!(turn_upright(rgb.clone(), orientation) == expected.into_rgb8(), "{orientation:?}");
        }
    }
}
