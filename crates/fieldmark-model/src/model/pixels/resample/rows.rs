//! The pass along the rows: every row gets another length.

use std::ops::Range;

use rayon::prelude::*;

use super::Pixels;
#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::weights::{Span, Weights};
use super::{CHANNELS, HALF, Resample, rounded};

/// Rows that one thread works on at a time.
const BAND: usize = 32;

/// Resizes some rows along `x`; `origin` is the photo's column that comes first in `source`.
pub(super) fn resize_rows(
    source: Pixels<'_>,
    rows: Range<usize>,
    x: Span,
    origin: u32,
    resample: Resample,
) -> Vec<u8> {
    if x.keeps_length() {
        let first = CHANNELS * (x.start - origin) as usize;
        let kept = first..first + CHANNELS * x.length as usize;
        return rows.flat_map(|y| &source.row(y)[kept.clone()]).copied().collect();
    }
    let length = CHANNELS * x.length as usize;
    let mut out = vec![0; rows.len() * length];
    let bands = out.par_chunks_mut(BAND * length).enumerate();
    #[cfg(target_arch = "x86_64")]
    if let Some(kernel) = avx2::RowKernel::new(source.width, x, origin, resample) {
        bands.for_each(|(band, out)| kernel.resize(source, rows.start + band * BAND, out));
        return out;
    }
    let weights = weights_of(x, origin, resample);
    bands.for_each(|(band, out)| {
        for (y, out) in out.chunks_exact_mut(length).enumerate() {
            resize_row(source.row(rows.start + band * BAND + y), &weights, out);
        }
    });
    out
}

fn weights_of(x: Span, origin: u32, resample: Resample) -> Vec<Weights> {
    let of_pixel = |pixel| {
        let mut weights = Weights::default();
        weights.set(x, resample, pixel, origin);
        weights
    };
    x.wanted().map(of_pixel).collect()
}

fn resize_row(row: &[u8], weights: &[Weights], out: &mut [u8]) {
    for (weights, out) in weights.iter().zip(out.chunks_exact_mut(CHANNELS)) {
        let mut sums = [HALF; CHANNELS];
        let pixels = row[CHANNELS * weights.first..].chunks_exact(CHANNELS);
        for (pixel, weight) in pixels.zip(&weights.fixed) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(*value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = rounded(sum);
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn vectors_give_what_single_numbers_give() {
        for (source, scaled) in [(100, 13), (61, 150), (9, 3), (8, 64), (500, 3), (33, 32)] {
            let photo = noise(source, 37);
            let pixels = Pixels { values: &photo, width: source as usize };
            for resample in (1..6).filter_map(Resample::from_pillow) {
                let x = Span { source, scaled, start: scaled / 4, length: scaled.div_ceil(2) };
                let weights = weights_of(x, 0, resample);
                let mut expected = vec![0; CHANNELS * x.length as usize];
                let found = resize_rows(pixels, 2..37, x, 0, resample);
                for (y, found) in found.chunks_exact(expected.len()).enumerate() {
                    resize_row(pixels.row(2 + y), &weights, &mut expected);
                    assert_eq!(found, expected, "{resample:?} of {source} to {scaled}, row {y}");
                }
            }
        }
    }
}
