//! Parts of a photo that are hidden from the model: the test of whether a map shows what the score depends on.

use fieldmark_model::{error::Result, photo::Photo};
use image::{Rgb, RgbImage};

/// Rectangles of a photo: left, top, right and bottom in pixels, right and bottom excluded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Hidden(pub(crate) Vec<[f64; 4]>);

impl Hidden {
    /// The photo with its mean colour in the rectangles.
    pub(crate) fn apply(&self, photo: &Photo) -> Result<Photo> {
        let mut rgb = photo.rgb().clone();
        let mean = mean(&rgb);
        let (width, height) = rgb.dimensions();
        let within = |value: f64, most: u32| value.round().clamp(0.0, f64::from(most)) as u32;
        for [left, top, right, bottom] in &self.0 {
            for y in within(*top, height)..within(*bottom, height) {
                for x in within(*left, width)..within(*right, width) {
                    rgb.put_pixel(x, y, mean);
                }
            }
        }
        Photo::from_rgb(photo.path(), rgb)
    }
}

fn mean(rgb: &RgbImage) -> Rgb<u8> {
    let mut sums = [0_u64; 3];
    for pixel in rgb.pixels() {
        sums.iter_mut().zip(pixel.0).for_each(|(sum, value)| *sum += u64::from(value));
    }
    let count = (u64::from(rgb.width()) * u64::from(rgb.height())).max(1);
    Rgb(sums.map(|sum| ((sum + count / 2) / count) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_get_the_mean_colour_and_are_cut_at_the_edges() -> Result<()> {
        let rgb = RgbImage::from_fn(4, 2, |x, _| if x < 2 { Rgb([0, 0, 0]) } else { Rgb([100, 50, 20]) });
        let photo = Photo::from_rgb("a.png", rgb)?;
        let hidden = Hidden(vec![[-5.0, 0.0, 1.0, 1.0], [3.0, 1.0, 99.0, 99.0]]).apply(&photo)?;
        let at = |x, y| hidden.rgb().get_pixel(x, y).0;
        assert_eq!((at(0, 0), at(3, 1)), ([50, 25, 10], [50, 25, 10]));
        assert_eq!((at(1, 0), at(0, 1), at(3, 0)), ([0, 0, 0], [0, 0, 0], [100, 50, 20]));
        Ok(())
    }
}
