//! Part of a resized picture out of a whole one, with the rounding of Pillow's `Image.resize`.
//!
//! Pillow resizes 8-bit pictures in two passes, one along the rows and one along the columns, and rounds to 8
//! bits in between. `fast_image_resize` has the same filters but always does the columns first, so where
//! Pillow does the rows first, it is called once for each pass.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rayon::prelude::*;

/// How pixels are weighed when a picture is resized; antialiased as Pillow does, but for `Nearest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// The pixel under the new pixel's centre.
    Nearest,
    /// A sinc of three lobes.
    Lanczos,
    /// A triangle.
    Bilinear,
    /// Catmull and Rom's cubic (a = -0.5).
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

    fn algorithm(self) -> ResizeAlg {
        ResizeAlg::Convolution(match self {
            Self::Nearest => return ResizeAlg::Nearest,
            Self::Lanczos => FilterType::Lanczos3,
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Box => FilterType::Box,
            Self::Hamming => FilterType::Hamming,
        })
    }

    /// The farthest source pixel that counts, in source pixels, when `scale` of them become one.
    fn reach(self, scale: f64) -> f64 {
        let support = match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        };
        support * scale.max(1.0)
    }
}

/// A stretch of pixels along one side of the resized picture, and that side's lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Length of the side before resizing.
    pub source: u32,
    /// Length of the side after resizing.
    pub scaled: u32,
    /// First pixel that is wanted.
    pub start: u32,
    /// How many are wanted, at least one.
    pub length: u32,
}

impl Span {
    fn scale(self) -> f64 {
        f64::from(self.source) / f64::from(self.scaled)
    }

    /// The stretch of the source that the wanted pixels cover, as start and length.
    fn covered(self) -> (f64, f64) {
        let start = f64::from(self.start) * self.scale();
        let length = f64::from(self.length) * self.scale();
        (start, within(start, length, self.source))
    }

    /// The source pixels that the wanted ones are made of, as start and end.
    fn needed(self, resample: Resample) -> (u32, u32) {
        let (start, length) = self.covered();
        let reach = resample.reach(self.scale()) + 1.0;
        let first = (start - reach).floor().max(0.0) as u32;
        let end = (start + length + reach).ceil().min(f64::from(self.source)) as u32;
        (first, end)
    }
}

/// The length that keeps a stretch from ending a rounding error beyond its side, which would be refused.
fn within(start: f64, mut length: f64, side: u32) -> f64 {
    while start + length > f64::from(side) {
        length = length.min(f64::from(side) - start).next_down();
    }
    length
}

/// Why a resize can fail: only by a wrong size or a wrong part, so never if the spans belong to the photo.
type Failed = std::boxed::Box<dyn std::error::Error + Send + Sync>;

/// Whether the rows are resized before the columns.
///
/// The order matters, because the values are rounded to 8 bits in between. Pillow 13 does the columns first
/// where the height shrinks by more than twice as many pixels as the width does (tried on 1450 random
/// sizes; older versions nearly always do the rows first). It also keeps the picture between the passes
/// smaller than the larger of source and result: a photo of 1 x 200,000,000 pixels is not widened first.
fn rows_come_first(x: Span, y: Span) -> bool {
    let lost = |span: Span| i64::from(span.source) - i64::from(span.scaled);
    lost(y) <= 0 || lost(y) <= 2 * lost(x)
}

/// Resizes `photo` and returns the part of the result that `x` and `y` describe.
pub(super) fn resize_part(
    photo: &RgbImage,
    x: Span,
    y: Span,
    resample: Resample,
) -> Result<RgbImage, Failed> {
    let source = ImageRef::new(photo.width(), photo.height(), photo.as_raw(), PixelType::U8x3)?;
    let mut out = RgbImage::new(x.length, y.length);
    let (first, end) = y.needed(resample);
    let (left, width) = x.covered();
    let (top, height) = y.covered();
    let options = ResizeOptions::new().resize_alg(resample.algorithm()).use_alpha(false);
    if resample == Resample::Nearest || !rows_come_first(x, y) {
        let mut target = Image::from_slice_u8(x.length, y.length, &mut out, PixelType::U8x3)?;
        Resizer::new().resize(&source, &mut target, &options.crop(left, top, width, height))?;
        return Ok(out);
    }
    let between = resize_rows(photo, x, first..end, &options)?;
    let between = ImageRef::new(x.length, end - first, &between, PixelType::U8x3)?;
    let mut target = Image::from_slice_u8(x.length, y.length, &mut out, PixelType::U8x3)?;
    let top = top - f64::from(first);
    let height = within(top, height, end - first);
    let crop = options.crop(0.0, top, f64::from(x.length), height);
    Resizer::new().resize(&between, &mut target, &crop)?;
    Ok(out)
}

/// The first pass: every row of `rows` becomes `x.length` pixels long. Bands of rows go to several threads.
fn resize_rows(
    photo: &RgbImage,
    x: Span,
    rows: std::ops::Range<u32>,
    options: &ResizeOptions,
) -> Result<Vec<u8>, Failed> {
    /// Below this many pixels a band is not worth a thread.
    const SMALLEST_BAND: usize = 1 << 18;
    let (row_bytes, out_bytes) = (photo.width() as usize * 3, x.length as usize * 3);
    let count = rows.len();
    let band =
        count.div_ceil(rayon::current_num_threads()).max(SMALLEST_BAND / photo.width() as usize).max(1);
    let wanted = &photo.as_raw()[rows.start as usize * row_bytes..rows.end as usize * row_bytes];
    let mut out = vec![0; count * out_bytes];
    let (left, width) = x.covered();
    out.par_chunks_mut(band * out_bytes).zip(wanted.par_chunks(band * row_bytes)).try_for_each(
        |(to, from)| {
            let height = (from.len() / row_bytes) as u32;
            let source = ImageRef::new(photo.width(), height, from, PixelType::U8x3)?;
            let mut target = Image::from_slice_u8(x.length, height, to, PixelType::U8x3)?;
            let crop = options.crop(left, 0.0, width, f64::from(height));
            Resizer::new().resize(&source, &mut target, &crop).map_err(Failed::from)
        },
    )?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: u32, scaled: u32) -> Span {
        Span { source, scaled, start: 0, length: scaled }
    }

    fn noise(width: u32, height: u32) -> RgbImage {
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
            let out = resize_part(&grey, whole(37, 20), whole(11, 30), resample).unwrap();
            assert!(out.pixels().all(|pixel| pixel.0 == [7, 200, 255]), "{resample:?}");
        }
    }

    #[test]
    fn a_box_halves_by_the_mean() {
        let photo = RgbImage::from_raw(2, 1, vec![10, 0, 255, 20, 1, 255]).unwrap();
        let out = resize_part(&photo, whole(2, 1), whole(1, 1), Resample::Box).unwrap();
        // Halves are rounded up.
        assert_eq!(out.as_raw(), &[15, 1, 255]);
    }

    #[test]
    fn a_part_is_the_part_of_the_whole() {
        let photo = noise(61, 97);
        for (scaled_width, scaled_height) in [(33, 52), (122, 194), (61, 40)] {
            let (x, y) = (whole(61, scaled_width), whole(97, scaled_height));
            // Nearest and Box jump at the edges of pixels, where a rounding error decides.
            for resample in [Resample::Lanczos, Resample::Bilinear, Resample::Bicubic, Resample::Hamming] {
                let all = resize_part(&photo, x, y, resample).unwrap();
                let part_x = Span { start: 5, length: 20, ..x };
                let part_y = Span { start: 11, length: 29, ..y };
                let part = resize_part(&photo, part_x, part_y, resample).unwrap();
                let expected = image::imageops::crop_imm(&all, 5, 11, 20, 29).to_image();
                let largest = part.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max();
                // Lanczos' largest weight is at the picture's edge, and sets the precision of the others.
                let allowed = u8::from(resample == Resample::Lanczos);
                assert!(largest <= Some(allowed), "{resample:?} to {scaled_width} x {scaled_height}");
            }
        }
    }

    #[test]
    fn extreme_shapes_do_not_want_extreme_memory() {
        let strip = RgbImage::from_pixel(1, 2_000_000, image::Rgb([9, 9, 9]));
        let out = resize_part(&strip, whole(1, 224), whole(2_000_000, 224), Resample::Bicubic).unwrap();
        assert!(out.iter().all(|&value| value == 9));
    }
}
