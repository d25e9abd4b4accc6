//! Resizing against a plain loop: Pillow's arithmetic, written down once more without vectors, parts or planning.

use std::f64::consts::PI;

use fieldmark_model::{
    Photo,
    geometry::{Fit, Grid, Size},
    model::preprocess::{FitRequest, Preprocess, Resample, Resize},
};
use image::{Rgb, RgbImage};

/// Bits of a weight behind the point.
const PRECISION: u32 = 22;

/// A picture and the size that it is to get.
#[derive(Debug, arbitrary::Arbitrary)]
pub struct Case {
    width: u8,
    height: u8,
    new_width: u8,
    new_height: u8,
    filter: u8,
    seed: u32,
    pixels: Vec<u8>,
}

impl Case {
    /// Resizes both ways.
    ///
    /// # Panics
    /// If the results differ by a bit.
    pub fn check(&self) {
        let side = |value: u8| u32::from(value) + 1;
        let photo = self.picture(side(self.width), side(self.height));
        let size = Size::new(side(self.new_width), side(self.new_height));
        // Nearest is chosen by adding steps; the weights below are for the other filters.
        let Some(resample) = Resample::from_pillow(1 + u64::from(self.filter % 5)) else { return };
        let mut preprocess = Preprocess::siglip_default(1);
        (preprocess.resize, preprocess.resample) = (Resize::Exact(size), resample);
        let request = FitRequest { fit: Fit::Crop, patch: 1, trained: Grid::new(1, 1), detail: 1.0 };
        let expected = plain(&photo, size, resample);
        let photo = Photo::from_rgb("picture", photo).expect("has pixels");
        let (found, _) = preprocess.fit(&photo, &request).expect("is within all limits");
        assert_eq!(found.dimensions(), expected.dimensions());
        assert!(found.as_raw() == expected.as_raw(), "{resample:?}: {:?} to {size:?}", photo.size());
    }

    fn picture(&self, width: u32, height: u32) -> RgbImage {
        let mut state = self.seed;
        let mut given = self.pixels.iter();
        RgbImage::from_fn(width, height, |_, _| {
            Rgb([0; 3].map(|_: u8| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                given.next().copied().unwrap_or((state >> 24) as u8)
            }))
        })
    }
}

/// Both passes, in the order of Pillow 13.
fn plain(photo: &RgbImage, size: Size, resample: Resample) -> RgbImage {
    let (width, height) = photo.dimensions();
    let lost = [i64::from(width) - i64::from(size.width), i64::from(height) - i64::from(size.height)];
    if lost[1] <= 0 || lost[1] <= 2 * lost[0] {
        columns(&rows(photo, size.width, resample), size.height, resample)
    } else {
        rows(&columns(photo, size.height, resample), size.width, resample)
    }
}

fn rows(photo: &RgbImage, width: u32, resample: Resample) -> RgbImage {
    if width == photo.width() {
        return photo.clone();
    }
    let weights: Vec<_> = (0..width).map(|x| weights(photo.width(), width, x, resample)).collect();
    RgbImage::from_fn(width, photo.height(), |x, y| {
        let (first, weights) = &weights[x as usize];
        weighed(weights, |at| photo.get_pixel(first + at, y))
    })
}

fn columns(photo: &RgbImage, height: u32, resample: Resample) -> RgbImage {
    if height == photo.height() {
        return photo.clone();
    }
    let weights: Vec<_> = (0..height).map(|y| weights(photo.height(), height, y, resample)).collect();
    RgbImage::from_fn(photo.width(), height, |x, y| {
        let (first, weights) = &weights[y as usize];
        weighed(weights, |at| photo.get_pixel(x, first + at))
    })
}

fn weighed<'a>(weights: &[i64], pixel: impl Fn(u32) -> &'a Rgb<u8>) -> Rgb<u8> {
    let mut sums = [1_i64 << (PRECISION - 1); 3];
    for (at, weight) in weights.iter().enumerate() {
        let pixel = pixel(at as u32);
        for (sum, value) in sums.iter_mut().zip(pixel.0) {
            *sum += i64::from(value) * weight;
        }
    }
    Rgb(sums.map(|sum| (sum >> PRECISION).clamp(0, 255) as u8))
}

/// The first source pixel of a new one, and the weights from there on.
fn weights(source: u32, scaled: u32, pixel: u32, resample: Resample) -> (u32, Vec<i64>) {
    let scale = f64::from(source) / f64::from(scaled);
    let stretch = scale.max(1.0);
    let support = stretch
        * match resample {
            Resample::Box => 0.5,
            Resample::Bilinear | Resample::Hamming => 1.0,
            Resample::Bicubic => 2.0,
            _ => 3.0,
        };
    let centre = (f64::from(pixel) + 0.5) * scale;
    let first = (centre - support + 0.5).max(0.0) as u32;
    let end = ((centre + support + 0.5) as u32).min(source);
    let exact: Vec<f64> =
        (first..end).map(|at| filter(resample, (f64::from(at) - centre + 0.5) * (1.0 / stretch))).collect();
    let mut sum = 0.0;
    exact.iter().for_each(|weight| sum += weight);
    let fixed = |weight: &f64| {
        let weight = if sum == 0.0 { *weight } else { weight / sum } * f64::from(1 << PRECISION);
        (if weight < 0.0 { weight - 0.5 } else { weight + 0.5 }) as i64
    };
    (first, exact.iter().map(fixed).collect())
}

fn filter(resample: Resample, x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
    let far = x.abs();
    match resample {
        Resample::Box if x > -0.5 && x <= 0.5 => 1.0,
        Resample::Bilinear if far < 1.0 => 1.0 - far,
        // Pillow has these constants in single precision.
        Resample::Hamming if far < 1.0 => {
            sinc(far) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (far * PI).cos())
        }
        Resample::Bicubic if far < 1.0 => (1.5 * far - 2.5) * far * far + 1.0,
        Resample::Bicubic if far < 2.0 => (((far - 5.0) * far + 8.0) * far - 4.0) * -0.5,
        Resample::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// Fits a small picture in each of the three ways, by a file's settings.
pub(crate) fn fit_small(preprocess: &Preprocess) {
    let photo = Photo::from_rgb("picture", RgbImage::from_pixel(7, 5, Rgb([1, 128, 255])));
    let photo = photo.expect("has pixels");
    for fit in [Fit::Crop, Fit::Squash, Fit::Whole] {
        let request = FitRequest { fit, patch: 4, trained: Grid::new(2, 2), detail: 1.0 };
        // A file may ask for sides of thousands of pixels, which takes time and finds nothing.
        let side = match preprocess.resize {
            Resize::Shortest(side) | Resize::Longest(side) => side,
            Resize::Exact(size) => size.width.max(size.height),
            _ => 0,
        };
        let crop = preprocess.crop.map_or(0, |crop| crop.size.width.max(crop.size.height));
        if side.max(crop) > 512 {
            continue;
        }
        match preprocess.fit(&photo, &request) {
            Ok((picture, placement)) => {
                assert_eq!(picture.dimensions(), (placement.input.width, placement.input.height));
            }
            Err(error) => crate::check_error(&error),
        }
    }
}
