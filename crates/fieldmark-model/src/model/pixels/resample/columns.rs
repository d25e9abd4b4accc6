//! The pass along the columns: every column gets another length.

use std::ops::Range;

use rayon::prelude::*;

use super::Pixels;
#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::weights::{Span, Weights};
use super::{CHANNELS, HALF, Resample, rounded};

/// Resizes some columns along `y`; `origin` is the photo's row that comes first in `source`.
pub(super) fn resize_columns(
    source: Pixels<'_>,
    columns: Range<usize>,
    y: Span,
    origin: u32,
    resample: Resample,
) -> Vec<u8> {
    let values = CHANNELS * columns.start..CHANNELS * columns.end;
    if y.keeps_length() {
        return y
            .wanted()
            .flat_map(|y| &source.row((y - origin) as usize)[values.clone()])
            .copied()
            .collect();
    }
    let mut out = vec![0; values.len() * y.length as usize];
    let rows = out.par_chunks_mut(values.len()).zip(y.wanted().into_par_iter());
    // The weights of one row at a time: of a tall photo there are many.
    rows.for_each_init(Weights::default, |weights, (out, row)| {
        weights.set(y, resample, row, origin);
        let row = WeighedRows { source, values: values.clone(), weights };
        row.sum(out);
    });
    out
}

/// The source rows that one row of the result is made of.
#[derive(Clone)]
pub(super) struct WeighedRows<'a> {
    pub(super) source: Pixels<'a>,
    /// Which values of each row.
    pub(super) values: Range<usize>,
    pub(super) weights: &'a Weights,
}

impl WeighedRows<'_> {
    fn sum(&self, out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        let done = avx2::sum_rows(self, out);
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        self.sum_from(done, out);
    }

    /// The sums of the values after the first `done`.
    fn sum_from(&self, done: usize, out: &mut [u8]) {
        /// Values whose sums are kept at once.
        const BLOCK: usize = 64;
        let first = self.values.start + done;
        for (block, out) in out[done..].chunks_mut(BLOCK).enumerate() {
            let mut sums = [HALF; BLOCK];
            let values = first + block * BLOCK..first + block * BLOCK + out.len();
            for (y, weight) in self.weights.fixed.iter().enumerate() {
                let row = &self.source.row(self.weights.first + y)[values.clone()];
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += i32::from(*value) * weight;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = rounded(sum);
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn vectors_give_what_single_numbers_give() {
        for (source, scaled, width) in [(100, 13, 40), (61, 150, 11), (9, 3, 3), (500, 2, 21)] {
            let photo = noise(width, source);
            let pixels = Pixels { values: &photo, width: width as usize };
            for resample in (1..6).filter_map(Resample::from_pillow) {
                let y = Span { source, scaled, start: 0, length: scaled };
                let mut weights = Weights::default();
                let found = resize_columns(pixels, 1..width as usize, y, 0, resample);
                let mut expected = vec![0; CHANNELS * (width as usize - 1)];
                for (row, found) in found.chunks_exact(expected.len()).enumerate() {
                    weights.set(y, resample, row as u32, 0);
                    let values = CHANNELS..CHANNELS * width as usize;
                    WeighedRows { source: pixels, values, weights: &weights }.sum_from(0, &mut expected);
                    assert_eq!(found, expected, "{resample:?} of {source} to {scaled}, row {row}");
                }
            }
        }
    }
}
