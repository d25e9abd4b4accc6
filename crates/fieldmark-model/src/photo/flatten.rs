//! Pixels of any kind become 8-bit RGB, transparency over white.

use image::{DynamicImage, RgbImage, RgbaImage};

/// A picture in 8-bit RGB, and what was lost on the way.
pub(super) struct Flat {
    pub(super) rgb: RgbImage,
    /// Whether every pixel was transparent, so that only the white behind it is left.
    pub(super) is_transparent: bool,
    /// Whether values had more than 8 bits.
    pub(super) is_deep: bool,
}

/// Any kind of pixel as 8-bit RGB.
pub(super) fn flatten(pixels: DynamicImage) -> Flat {
    let color = pixels.color();
    let is_deep = color.bytes_per_pixel() > color.channel_count();
    if !color.has_alpha() {
        return Flat { rgb: pixels.into_rgb8(), is_transparent: false, is_deep };
    }
    let rgba = pixels.into_rgba8();
    Flat { rgb: over_white(&rgba), is_transparent: is_transparent(&rgba), is_deep }
}

pub(super) fn is_transparent(rgba: &RgbaImage) -> bool {
    rgba.chunks_exact(4).all(|pixel| pixel[3] == 0)
}

fn over_white(rgba: &RgbaImage) -> RgbImage {
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        to.copy_from_slice(&pixel_over_white([from[0], from[1], from[2]], from[3]));
    }
    rgb
}

/// A colour over white.
pub(super) fn pixel_over_white(colour: [u8; 3], alpha: u8) -> [u8; 3] {
    let alpha = u32::from(alpha);
    colour.map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

/// 16 bits as 8, rounded.
pub(super) fn eight_bits(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Rgba};

    #[test]
    fn transparency_is_laid_over_white() {
        let rgba = RgbaImage::from_fn(3, 1, |x, _| {
            Rgba([[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]][x as usize])
        });
        // A fifth of black over white leaves four fifths of white: 204.
        assert_eq!(over_white(&rgba).as_raw(), &[255, 255, 255, 10, 20, 30, 204, 204, 204]);
    }

    #[test]
    fn sixteen_bits_become_eight_as_in_the_image_crate() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let grey = ImageBuffer::from_raw(256, 256, all.clone()).unwrap();
        let expected = DynamicImage::ImageLuma16(grey).into_luma8();
        assert!(all.iter().zip(expected.as_raw()).all(|(&value, &byte)| eight_bits(value) == byte));
    }
}
