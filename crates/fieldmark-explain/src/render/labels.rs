//! The separate places of a concept as numbers: which of them each pixel of the photo belongs to.

use image::{GrayImage, Luma};

use super::colormap::oklab_to_srgb;
use crate::regions::Instance;
use fieldmark_model::geometry::Size;

/// As many places as a number of 8 bits can distinguish.
pub const MOST_LABELS: usize = 255;

/// Lightness and chroma of the labels' colours in OKLab, two in turn: neighbours in number differ in more than hue.
const TONES: [[f64; 2]; 2] = [[0.78, 0.14], [0.62, 0.17]];

/// The golden angle: hues that follow each other are far apart, however many there are.
const TURN: f64 = 2.399_963_229_728_653;

/// 0 where there is no instance, else the instance's place in the list, counted from 1, at the photo's size. Instances
/// beyond the first [`MOST_LABELS`] are left out; since each has its share of the evidence, there are hardly ever more.
pub fn labels(instances: &[Instance], photo: Size) -> GrayImage {
    let mut picture = GrayImage::new(photo.width, photo.height);
    for (instance, label) in instances.iter().zip(1..=MOST_LABELS as u8) {
        for (y, run) in instance.mask.runs() {
            run.clone().for_each(|x| picture.put_pixel(x, *y, Luma([label])));
        }
    }
    picture
}

/// The colours to show labels in: black for none, and one for every label.
pub fn label_colors() -> Vec<[u8; 3]> {
    let color = |label: usize| {
        let [lightness, chroma] = TONES[label % TONES.len()];
        let hue = label as f64 * TURN;
        oklab_to_srgb([lightness, chroma * hue.cos(), chroma * hue.sin()])
    };
    std::iter::once([0; 3]).chain((0..MOST_LABELS).map(color)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attribution::ConceptMap,
        regions::{Threshold, instances},
    };
    use fieldmark_model::geometry::{Grid, Placement, Rect};

    #[test]
    fn the_strongest_place_is_1_and_no_pixel_has_two() {
        let photo = Size::new(50, 10);
        let placement = Placement { photo, input: photo, grid: Grid::new(1, 5), covers: Rect::whole(photo) };
        let map = ConceptMap::new(vec![3.0, 0.0, 0.0, 0.0, 4.0], placement);
        let found = instances(&map, Threshold::default());
        let picture = labels(&found, photo);
        let at = |x: u32| picture.get_pixel(x, 5).0[0];
        assert_eq!([at(0), at(25), at(49)], [2, 0, 1]);
        for (label, instance) in (1..).zip(&found) {
            let pixels = picture.as_raw().iter().filter(|value| **value == label).count();
            assert_eq!(pixels as u64, instance.region.area);
        }
    }

    #[test]
    fn successive_labels_have_clearly_different_colours() {
        let colors = label_colors();
        assert_eq!((colors.len(), colors[0]), (1 + MOST_LABELS, [0; 3]));
        for near in colors.windows(4) {
            let far = |other: &[u8; 3]| {
                let apart: u32 = near[0].iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
                apart > 60
            };
            assert!(near[1..].iter().all(far), "{near:?}");
        }
    }
}
