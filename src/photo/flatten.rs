//! Pixels of any kind become 8-bit RGB, transparency over white.

use image::{DynamicImage, RgbImage, RgbaImage};

/// Any kind of pixel as 8-bit RGB, transparency over white.
pub(super) fn flatten(pixels: DynamicImage) -> RgbImage {
    if pixels.color().has_alpha() { over_white(&pixels.into_rgba8()) } else { pixels.into_rgb8() }
}

fn over_white(rgba: &RgbaImage) -> RgbImage {
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        let alpha = u32::from(from[3]);
        for (value, &colour) in to.iter_mut().zip(from) {
            let blend = u32::from(colour) * alpha + 255 * (255 - alpha);
            *value = ((blend + 127) / 255) as u8;
        }
    }
    rgb
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;

    #[test]
    fn transparency_is_laid_over_white() {
        let rgba = RgbaImage::from_fn(3, 1, |x, _| {
            Rgba([[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]][x as usize])
        });
        // A fifth of black over white leaves four fifths of white: 204.
        assert_eq!(over_white(&rgba).as_raw(), &[255, 255, 255, 10, 20, 30, 204, 204, 204]);
    }
}
