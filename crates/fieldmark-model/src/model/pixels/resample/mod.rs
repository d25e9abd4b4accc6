//! Part of a resized picture out of a whole one, to the bit as Pillow's `Image.resize` computes it.
//!
//! Pillow resizes 8-bit pictures in two passes, one along the rows and one along the columns, with weights in fixed point
//! (its `Resample.c`), and rounds to 8 bits after each. A part is the part of the whole.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod columns;
mod nearest;
mod rows;
mod weights;

use image::RgbImage;

use weights::PRECISION;
pub(super) use weights::Span;

/// Values of a pixel.
const CHANNELS: usize = 3;
/// Half of the last digit that is kept, in the units of sums.
const HALF: i32 = 1 << (PRECISION - 1);

/// How pixels are weighed when a picture is resized; antialiased, but for `Nearest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resample {
    /// The pixel under the new pixel's centre.
    Nearest,
    /// A sinc of three lobes.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// Keys' cubic (a = -0.5).
    Bicubic,
    /// The plain mean.
    Box,
    /// Hamming's window.
    Hamming,
}

impl Resample {
    /// The filter that Pillow, and with it `preprocessor_config.json`, has under this number.
    pub fn from_pillow(code: u64) -> Option<Self> {
        use Resample::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming].get(usize::try_from(code).ok()?).copied()
    }
}

/// The values of a picture, row by row.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    values: &'a [u8],
    /// Pixels in a row.
    width: usize,
}

impl<'a> Pixels<'a> {
    fn row(self, y: usize) -> &'a [u8] {
        let length = CHANNELS * self.width;
        &self.values[y * length..(y + 1) * length]
    }
}

/// Resizes `photo` and returns the part of the result that `x` and `y` describe; their source lengths are the photo's.
pub(super) fn resize_part(photo: &RgbImage, x: Span, y: Span, resample: Resample) -> RgbImage {
    let source = Pixels { values: photo.as_raw(), width: photo.width() as usize };
    let values = if resample == Resample::Nearest {
        nearest::pick(source, x, y)
    } else if rows_come_first(x, y) {
        let needed = y.needed(resample);
        let rows = needed.start as usize..needed.end as usize;
        let between = rows::resize_rows(source, rows, x, 0, resample);
        let between = Pixels { values: &between, width: x.length as usize };
        columns::resize_columns(between, 0..between.width, y, needed.start, resample)
    } else {
        let needed = x.needed(resample);
        let columns = needed.start as usize..needed.end as usize;
        let between = columns::resize_columns(source, columns, y, 0, resample);
        let between = Pixels { values: &between, width: needed.len() };
        rows::resize_rows(between, 0..y.length as usize, x, needed.start, resample)
    };
    RgbImage::from_raw(x.length, y.length, values).unwrap_or_default()
}

/// Whether the rows are resized before the columns.
///
/// The order matters, because the values are rounded to 8 bits in between. Pillow 13 does the columns first where the
/// height shrinks by more than twice as many pixels as the width does (tried on 4000 random sizes); older versions
/// nearly always do the rows first. It also keeps the picture between the passes smaller than the larger of source and
/// result: a photo of 1 x 200,000,000 pixels is not widened first.
fn rows_come_first(x: Span, y: Span) -> bool {
    let lost = |span: Span| i64::from(span.source) - i64::from(span.scaled);
    lost(y) <= 0 || lost(y) <= 2 * lost(x)
}

/// A sum of weighed pixels as a pixel.
fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: u32, scaled: u32) -> Span {
        Span { source, scaled, start: 0, length: scaled }
    }

    /// A picture of the linear congruential generator of Numerical Recipes.
    pub(super) fn noise(width: u32, height: u32) -> RgbImage {
        let mut state = 1u32;
        RgbImage::from_fn(width, height, |_, _| {
            image::Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }))
        })
    }

    #[test]
    fn one_colour_stays_that_colour() {
        let grey = RgbImage::from_pixel(37, 11, image::Rgb([7, 200, 255]));
        for resample in (0..6).filter_map(Resample::from_pillow) {
            let out = resize_part(&grey, whole(37, 20), whole(11, 30), resample);
            assert!(out.pixels().all(|pixel| pixel.0 == [7, 200, 255]), "{resample:?}");
        }
    }

    #[test]
    fn a_box_halves_by_the_mean() {
        let photo = RgbImage::from_raw(2, 1, vec![10, 0, 255, 20, 1, 255]).unwrap();
        let out = resize_part(&photo, whole(2, 1), whole(1, 1), Resample::Box);
        // Halves are rounded up.
        assert_eq!(out.as_raw(), &[15, 1, 255]);
    }

    #[test]
    fn a_part_is_the_part_of_the_whole() {
        let photo = noise(61, 97);
        for (scaled_width, scaled_height) in [(33, 52), (122, 194), (61, 40), (90, 97)] {
            let (x, y) = (whole(61, scaled_width), whole(97, scaled_height));
            for resample in (0..6).filter_map(Resample::from_pillow) {
                let all = resize_part(&photo, x, y, resample);
                let part_x = Span { start: 5, length: 20, ..x };
                let part_y = Span { start: 11, length: 29, ..y };
                let part = resize_part(&photo, part_x, part_y, resample);
                let expected = image::imageops::crop_imm(&all, 5, 11, 20, 29).to_image();
                assert!(part == expected, "{resample:?} to {scaled_width} x {scaled_height}");
            }
        }
    }

    #[test]
    fn extreme_shapes_do_not_want_extreme_memory() {
        let strip = RgbImage::from_pixel(1, 2_000_000, image::Rgb([9, 9, 9]));
        let out = resize_part(&strip, whole(1, 224), whole(2_000_000, 224), Resample::Bicubic);
        assert!(out.iter().all(|&value| value == 9));
    }
}
