//! An image file becomes a mask of the photo's pixels.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageBuffer, ImageFormat, ImageReader, Limits, Pixel, Primitive};

use fieldmark_model::{
    error::{Error, Result},
    files::read_bounded,
    geometry::Size,
    photo,
};

/// Which pixels of a mask's file are inside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inside {
    /// Those that are neither black nor fully transparent.
    NotBlack,
    /// Those whose grey is above this, of 255: of the votes of several people, a majority.
    Above(u8),
    /// Those of one of these colours (red, green, blue), opaque: a map of several parts.
    Colours(Vec<[u8; 3]>),
}

/// Reads a PNG of the photo's size. `None` where a map of several parts shows none of those that are meant: they are
/// hidden.
pub(super) fn read_mask(path: &Path, inside: &Inside, size: Size) -> Result<Option<Vec<bool>>> {
    let mask = inside.of(decode(path, size)?);
    match (mask.contains(&true), inside) {
        (true, _) => Ok(Some(mask)),
        (false, Inside::Colours(_)) => Ok(None),
        (false, Inside::NotBlack) => {
            Err(error(path, "expected a mask with a pixel that is not zero, found none".into()))
        }
        (false, Inside::Above(least)) => {
            Err(error(path, format!("expected a mask with a pixel above {least}, found none")))
        }
    }
}

fn error(path: &Path, reason: String) -> Error {
    Error::Image { path: PathBuf::from(path), reason }
}

fn decode(path: &Path, size: Size) -> Result<DynamicImage> {
    let bytes = read_bounded(path, photo::memory_limit(size.area()))?;
    let is_png = image::guess_format(&bytes).is_ok_and(|format| format == ImageFormat::Png);
    let header = photo::png_size(&bytes).filter(|_| is_png);
    let (width, height) =
        header.ok_or_else(|| error(path, "expected a mask as PNG, found something else".into()))?;
    if Size::new(width, height) != size {
        let expected = format!("expected a mask of the photo's {} x {} pixels", size.width, size.height);
        return Err(error(path, format!("{expected}, found {width} x {height}")));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(photo::memory_limit(size.area()));
    reader.limits(limits);
    reader.decode().map_err(|cause| error(path, format!("the mask cannot be decoded: {cause}")))
}

impl Inside {
    fn of(&self, pixels: DynamicImage) -> Vec<bool> {
        match self {
            Self::NotBlack => not_black(pixels),
            // Some of CUB's masks have an alpha channel, which says nothing.
            Self::Above(least) => pixels.into_luma8().pixels().map(|pixel| pixel[0] > *least).collect(),
            Self::Colours(colours) => {
                let is_inside = |pixel: &image::Rgba<u8>| {
                    pixel[3] != 0 && colours.iter().any(|colour| pixel.0[..3] == *colour)
                };
                pixels.into_rgba8().pixels().map(is_inside).collect()
            }
        }
    }
}

/// Whether each pixel is neither black nor fully transparent. The values are taken as they are stored: fewer bits would
/// round a small label of a 16-bit mask to 0, and more would take memory.
fn not_black(pixels: DynamicImage) -> Vec<bool> {
    match pixels {
        DynamicImage::ImageLuma8(pixels) => each_not_black(&pixels),
        DynamicImage::ImageLumaA8(pixels) => each_not_black(&pixels),
        DynamicImage::ImageRgb8(pixels) => each_not_black(&pixels),
        DynamicImage::ImageRgba8(pixels) => each_not_black(&pixels),
        DynamicImage::ImageLuma16(pixels) => each_not_black(&pixels),
        DynamicImage::ImageLumaA16(pixels) => each_not_black(&pixels),
        DynamicImage::ImageRgb16(pixels) => each_not_black(&pixels),
        other => each_not_black(&other.into_rgba16()),
    }
}

fn each_not_black<P: Pixel>(pixels: &ImageBuffer<P, Vec<P::Subpixel>>) -> Vec<bool> {
    let zero = P::Subpixel::DEFAULT_MIN_VALUE;
    let is_inside = |pixel: &P| match pixel.channels() {
        [colours @ .., alpha] if P::CHANNEL_COUNT % 2 == 0 => {
            *alpha != zero && colours.iter().any(|colour| *colour != zero)
        }
        colours => colours.iter().any(|colour| *colour != zero),
    };
    pixels.pixels().map(is_inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Luma, LumaA, Rgb, Rgba};

    #[test]
    fn every_depth_counts_what_is_not_zero() {
        let small: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(3, 1, vec![0, 1, 65535]).unwrap();
        assert_eq!(Inside::NotBlack.of(small.into()), [false, true, true]);
        let clear: ImageBuffer<Rgba<u8>, _> =
            ImageBuffer::from_raw(3, 1, vec![0, 0, 0, 255, 0, 0, 7, 255, 9, 9, 9, 0]).unwrap();
        assert_eq!(Inside::NotBlack.of(clear.clone().into()), [false, true, false]);
        let all = [DynamicImage::from(clear), DynamicImage::new_luma8(3, 1)];
        let forms: [fn(&DynamicImage) -> DynamicImage; 8] = [
            |image| image.to_luma8().into(),
            |image| image.to_luma_alpha8().into(),
            |image| image.to_rgb8().into(),
            |image| image.to_rgba8().into(),
            |image| image.to_luma16().into(),
            |image| image.to_luma_alpha16().into(),
            |image| image.to_rgb16().into(),
            |image| image.to_rgba16().into(),
        ];
        for (image, form) in all.iter().flat_map(|image| forms.iter().map(move |form| (image, form))) {
            let image = form(image);
            let deep = image.to_rgba16();
            let by_value = deep.pixels().map(|pixel| pixel[3] != 0 && pixel.0[..3] != [0; 3]);
            assert_eq!(
                Inside::NotBlack.of(image.clone()),
                by_value.collect::<Vec<_>>(),
                "{:?}",
                image.color()
            );
        }
    }

    #[test]
    fn votes_need_a_majority_with_and_without_alpha() {
        let votes: ImageBuffer<Luma<u8>, _> = ImageBuffer::from_raw(3, 1, vec![128, 129, 255]).unwrap();
        assert_eq!(Inside::Above(128).of(votes.into()), [false, true, true]);
        let votes: ImageBuffer<LumaA<u8>, _> = ImageBuffer::from_raw(2, 1, vec![128, 255, 204, 255]).unwrap();
        assert_eq!(Inside::Above(128).of(votes.into()), [false, true]);
    }

    #[test]
    fn colours_are_compared_exactly() {
        let parts: ImageBuffer<Rgb<u8>, _> =
            ImageBuffer::from_raw(4, 1, vec![255, 0, 1, 255, 0, 2, 255, 0, 3, 0, 0, 0]).unwrap();
        let feet = Inside::Colours(vec![[255, 0, 1], [255, 0, 2]]);
        assert_eq!(feet.of(parts.into()), [true, true, false, false]);
    }
}
