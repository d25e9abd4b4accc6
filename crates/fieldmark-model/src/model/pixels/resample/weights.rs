//! How much each source pixel counts for one pixel of a resized side, in Pillow's fixed-point numbers.
//!
//! A weight is `filter((source pixel + 0.5 - centre) / max(scale, 1))` divided by the sum of its pixel's weights, in
//! double precision, and then rounded to a multiple of 2^-22, halves away from zero. Pillow resizes 8-bit pictures with
//! these integers, so the result is the same on every machine.

use std::f64::consts::PI;
use std::ops::Range;

use super::Resample;

/// The binary digits of a weight after the point: 32, less 8 for the pixel and 2 for sums above 1 and below 0.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

/// A stretch of pixels along one side of the resized picture, and that side's lengths.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Span {
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
    /// Whether this side keeps its pixels as they are.
    pub(super) fn keeps_length(self) -> bool {
        self.source == self.scaled
    }

    /// The pixels that are wanted.
    pub(super) fn wanted(self) -> Range<u32> {
        self.start..self.start + self.length
    }

    /// Source pixels per pixel of the result. Pillow takes the side's length in single precision.
    pub(super) fn scale(self) -> f64 {
        f64::from(self.source as f32) / f64::from(self.scaled)
    }

    /// The source pixels that the wanted ones are made of.
    pub(super) fn needed(self, resample: Resample) -> Range<u32> {
        if self.keeps_length() {
            return self.wanted();
        }
        let last = self.start + self.length - 1;
        self.reach(resample, self.start).start..self.reach(resample, last).end
    }

    /// The source pixels that one pixel of the result is made of.
    fn reach(self, resample: Resample, pixel: u32) -> Range<u32> {
        let support = resample.support() * self.scale().max(1.0);
        let centre = self.centre(pixel);
        // The conversions drop the fraction, and what is below 0 becomes 0.
        let first = (centre - support + 0.5) as u32;
        let end = (centre + support + 0.5) as u32;
        first..end.min(self.source)
    }

    /// The middle of a pixel of the result, in source pixels.
    fn centre(self, pixel: u32) -> f64 {
        (f64::from(pixel) + 0.5) * self.scale()
    }
}

/// The weights of the source pixels that one pixel of the result is made of.
#[derive(Debug, Default)]
pub(super) struct Weights {
    /// The first of these source pixels.
    pub(super) first: usize,
    /// Their weights in units of 2^-22.
    pub(super) fixed: Vec<i32>,
    exact: Vec<f64>,
}

impl Weights {
    /// Replaces these weights by those of another pixel; `origin` is the source pixel that counts as the first one.
    pub(super) fn set(&mut self, span: Span, resample: Resample, pixel: u32, origin: u32) {
        let (reach, centre) = (span.reach(resample, pixel), span.centre(pixel));
        let step = 1.0 / span.scale().max(1.0);
        self.first = (reach.start - origin) as usize;
        self.exact.clear();
        self.exact.extend(reach.map(|source| resample.filter((f64::from(source) - centre + 0.5) * step)));
        // From the first to the last: another order would round otherwise.
        let sum = self.exact.iter().fold(0.0, |sum, weight| sum + weight);
        let divisor = if sum == 0.0 { 1.0 } else { sum };
        self.fixed.clear();
        self.fixed.extend(self.exact.iter().map(|weight| fixed(weight / divisor)));
    }
}

fn fixed(weight: f64) -> i32 {
    let scaled = weight * f64::from(1 << PRECISION);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

impl Resample {
    /// The distance from the centre at which the filter ends, in pixels of the coarser side.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The filter's value at a distance from the centre.
    fn filter(self, x: f64) -> f64 {
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Hamming => hamming(x.abs()),
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// Hamming's window on one lobe of a sinc. Pillow has its constants in single precision.
fn hamming(x: f64) -> f64 {
    if x < 1.0 { sinc(x) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (x * PI).cos()) } else { 0.0 }
}

/// Keys' cubic convolution.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_formula() {
        let halved = Span { source: 4, scaled: 2, start: 0, length: 2 };
        let mut weights = Weights::default();
        // Centre 1, triangle of 2 pixels to each side: 0.75, 0.75 and 0.25, less what lies beyond the edge.
        weights.set(halved, Resample::Bilinear, 0, 0);
        let sevenths = |part: f64| (part / 7.0 * f64::from(1 << PRECISION)).round() as i32;
        assert_eq!(
            (weights.first, &weights.fixed[..]),
            (0, &[sevenths(3.0), sevenths(3.0), sevenths(1.0)][..])
        );
        weights.set(halved, Resample::Box, 1, 1);
        assert_eq!((weights.first, &weights.fixed[..]), (1, &[1 << (PRECISION - 1); 2][..]));
    }

    #[test]
    fn the_needed_pixels_are_those_with_weights() {
        let mut weights = Weights::default();
        for (source, scaled) in [(97, 13), (13, 97), (40, 40), (7, 1)] {
            let span = Span { source, scaled, start: scaled / 3, length: scaled.div_ceil(2) };
            for resample in (1..6).filter_map(Resample::from_pillow) {
                let needed = span.needed(resample);
                for pixel in span.wanted() {
                    weights.set(span, resample, pixel, 0);
                    if !span.keeps_length() {
                        assert!(needed.start as usize <= weights.first);
                        assert!(weights.first + weights.fixed.len() <= needed.end as usize);
                    }
                }
            }
        }
    }
}
