//! The row-wise arithmetic of a transformer on plain slices: layer norm, softmax and the GELUs.
//!
//! Every function here is compiled for AVX-512, AVX2 and the baseline, and the best is chosen at run time. The
//! loops call no library function, so that the compiler can turn them into vector code; that is why `exp` and
//! `erf` are written out.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Rows are given to threads in pieces of about this many values: below it, handing out work costs more than
/// the work.
const PIECE: usize = 1 << 14;

/// Partial results kept side by side: a vector register's worth of the widest.
const LANES: usize = 16;

/// Layer norm of rows of `weight.len()` values: (x - mean) / sqrt(variance + epsilon) · weight + bias.
pub(crate) fn layer_norm(input: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, output: &mut [f32]) {
    let width = weight.len();
    each_row(input, output, width, |_, input, output| {
        let scale = 1.0 / width as f32;
        let mean = sum(input, |x| x) * scale;
        let variance = sum(input, |x| (x - mean) * (x - mean)) * scale;
        let deviation = 1.0 / (variance + epsilon).sqrt();
        for (((out, x), w), b) in output.iter_mut().zip(input).zip(weight).zip(bias) {
            *out = (x - mean) * deviation * w + b;
        }
    });
}

/// The gradient with respect to the input of a layer norm without its weight: (g - mean(g) - n mean(g n)) · inverse of
/// rows g = gradient · weight, where n is the normed input and `inverse` one over its deviation.
///
/// # Shapes
/// `input`: one row of `weight.len()` values for all, or as many as `gradient` and `output` have.
pub(crate) fn layer_norm_backward(
    input: &[f32],
    weight: &[f32],
    epsilon: f32,
    gradient: &[f32],
    output: &mut [f32],
) {
    let width = weight.len();
    let scale = 1.0 / width as f32;
    each_row(gradient, output, width, |row, gradient, output| {
        let input = if input.len() == width { input } else { &input[row * width..(row + 1) * width] };
        let mean = sum(input, |x| x) * scale;
        let variance = sum(input, |x| (x - mean) * (x - mean)) * scale;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for ((out, g), w) in output.iter_mut().zip(gradient).zip(weight) {
            *out = g * w;
        }
        let level = sum(output, |g| g) * scale;
        let along = sum_of_products(output, input, |x| x - mean) * inverse * scale;
        for (out, x) in output.iter_mut().zip(input) {
            *out = (*out - level - along * (x - mean) * inverse) * inverse;
        }
    });
}

/// Every row times one.
pub(crate) fn times_row(input: &[f32], row: &[f32], output: &mut [f32]) {
    each_row(input, output, row.len(), |_, input, output| {
        for ((out, x), y) in output.iter_mut().zip(input).zip(row) {
            *out = x * y;
        }
    });
}

/// Every row plus one.
pub(crate) fn plus_row(input: &[f32], row: &[f32], output: &mut [f32]) {
    each_row(input, output, row.len(), |_, input, output| {
        for ((out, x), y) in output.iter_mut().zip(input).zip(row) {
            *out = x + y;
        }
    });
}

/// Softmax of rows of `width` values.
pub(crate) fn softmax(input: &[f32], width: usize, output: &mut [f32]) {
    each_row(input, output, width, |_, input, output| {
        output.copy_from_slice(input);
        softmax_row(output);
    });
}

/// Softmax of rows of `width` values, on the thread that asks.
pub(crate) fn softmax_in_place(values: &mut [f32], width: usize) {
    Arch::new().dispatch(InPlace { values, width, row: &softmax_row });
}

#[inline(always)]
fn softmax_row(values: &mut [f32]) {
    // Sixteen maxima side by side: one alone would wait for itself at every step.
    let mut tops = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |top, x| if *x > top { *x } else { top });
    for chunk in chunks {
        for (top, x) in tops.iter_mut().zip(chunk) {
            *top = if *x > *top { *x } else { *top };
        }
    }
    let top = tops.into_iter().fold(rest, f32::max);
    for x in values.iter_mut() {
        *x = exp(*x - top);
    }
    let scale = 1.0 / sum(values, |x| x);
    for x in values.iter_mut() {
        *x *= scale;
    }
}

/// Adds `row` to every row of as many values.
pub(crate) fn add_rows(values: &mut [f32], row: &[f32]) {
    each_row_in_place(values, row.len(), |values| {
        for (x, y) in values.iter_mut().zip(row) {
            *x += y;
        }
    });
}

/// Applies `function` to every value.
pub(crate) fn apply(input: &[f32], output: &mut [f32], function: impl Fn(f32) -> f32 + Sync) {
    each_row(input, output, PIECE, |_, input, output| {
        for (out, x) in output.iter_mut().zip(input) {
            *out = function(*x);
        }
    });
}

/// Adds `row` to every row of as many values, and applies `function` to the sums.
pub(crate) fn add_and_apply(values: &mut [f32], row: &[f32], function: impl Fn(f32) -> f32 + Sync) {
    each_row_in_place(values, row.len(), |values| {
        for (x, y) in values.iter_mut().zip(row) {
            *x = function(*x + y);
        }
    });
}

/// x · sigmoid(1.702 x).
#[inline(always)]
pub(crate) fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.702 * x))
}

/// x · sigmoid(x).
#[inline(always)]
pub(crate) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// x · Φ(x), with Φ the normal distribution.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Twice the square root of 2 / π: what multiplies x in the exponent of [`gelu_tanh`].
pub(crate) const TANH_GELU_LINEAR: f64 = 1.595_769_121_605_730_8;
/// The same times 0.044715: what multiplies x³ there.
pub(crate) const TANH_GELU_CUBIC: f64 = 0.071_354_816_272_600_2;

/// x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), as x · sigmoid of twice the tangent's argument.
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    x / (1.0 + exp(-x * (TANH_GELU_LINEAR as f32 + TANH_GELU_CUBIC as f32 * x * x)))
}

/// Runs `row` on every row of `width` values, on all threads.
fn each_row_in_place(values: &mut [f32], width: usize, row: impl Fn(&mut [f32]) + Sync) {
    let arch = Arch::new();
    let piece = PIECE.div_ceil(width) * width;
    values.par_chunks_mut(piece).for_each(|values| arch.dispatch(InPlace { values, width, row: &row }));
}

/// Some rows, and what happens to each of them.
struct InPlace<'a, F> {
    values: &'a mut [f32],
    width: usize,
    row: &'a F,
}

impl<F: Fn(&mut [f32])> NullaryFnOnce for InPlace<'_, F> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        self.values.chunks_mut(self.width).for_each(self.row);
    }
}

/// Runs `row` on every row of `width` values (the last one may be shorter), on all threads. It gets the row's index.
fn each_row(input: &[f32], output: &mut [f32], width: usize, row: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
    struct Rows<'a, F> {
        first: usize,
        input: &'a [f32],
        output: &'a mut [f32],
        width: usize,
        row: &'a F,
    }
    impl<F: Fn(usize, &[f32], &mut [f32])> NullaryFnOnce for Rows<'_, F> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            let rows = self.input.chunks(self.width).zip(self.output.chunks_mut(self.width));
            for (index, (input, output)) in rows.enumerate() {
                (self.row)(self.first + index, input, output);
            }
        }
    }
    let arch = Arch::new();
    let piece = PIECE.div_ceil(width) * width;
    let pieces = output.par_chunks_mut(piece).zip(input.par_chunks(piece)).enumerate();
    pieces.for_each(|(index, (output, input))| {
        arch.dispatch(Rows { first: index * piece / width, input, output, width, row: &row });
    });
}

/// The sum of `term` over a row, in sixteen partial sums: one running sum could not be vectorised, and would
/// lose more digits.
#[inline(always)]
fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut partial = [0.0_f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|x| term(*x)).sum();
    for chunk in chunks {
        for (total, x) in partial.iter_mut().zip(chunk) {
            *total += term(*x);
        }
    }
    partial.iter().sum::<f32>() + rest
}

/// The sum of products of one row and a `term` of another.
#[inline(always)]
fn sum_of_products(one: &[f32], other: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut partial = [0.0_f32; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest: f32 = rest.map(|(x, y)| x * term(*y)).sum();
    for (ones, others) in ones.zip(others) {
        for ((total, x), y) in partial.iter_mut().zip(ones).zip(others) {
            *total += x * term(*y);
        }
    }
    partial.iter().sum::<f32>() + rest
}

/// e to the x, within two units in the last place; 0 below -87 and about 2e38 above 88.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting this number rounds to a whole number without a call.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.0);
    let whole = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    // Taylor's series to the sixth power: |rest| <= ln(2) / 2, so the remainder is under 2e-8.
    let mut power = 1.0 / 720.0;
    for term in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * rest + term;
    }
    power * f32::from_bits(((whole as i32 + 127) << 23) as u32)
}

/// The error function, within 4e-7: x · P(x²) / Q(x²) on [-4, 4], where it reaches ±1 in float32.
#[inline(always)]
fn erf(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_5e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut numerator = P[0];
    for term in &P[1..] {
        numerator = numerator * square + term;
    }
    let mut denominator = Q[0];
    for term in &Q[1..] {
        denominator = denominator * square + term;
    }
    x * numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_over_its_range() {
        for step in -8700..8800 {
            let x = step as f32 / 100.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 3e-7, "exp({x}) is {expected}, found {found}");
        }
        assert!(exp(-1e9) < 1.3e-38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_right_over_its_range() {
        for step in -600..=600 {
            let x = f64::from(step) / 100.0;
            let found = f64::from(erf(x as f32));
            assert!((found - erf_by_integration(x)).abs() < 4e-7, "erf({x}) found {found}");
        }
    }

    /// 2 / sqrt(pi) times the integral of exp(-t²), by Simpson's rule.
    fn erf_by_integration(x: f64) -> f64 {
        let steps = 2000;
        let width = x / f64::from(steps);
        let value = |i: i32| (-(f64::from(i) * width).powi(2)).exp();
        let inner: f64 = (1..steps).map(|i| value(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (value(0) + inner + value(steps)) * width / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn rows_are_normalised_by_hand() {
        let mut out = [0.0; 4];
        layer_norm(&[1.0, 3.0, 5.0, 5.0], &[2.0, 1.0], &[0.5, 0.0], 0.0, &mut out);
        assert_eq!(out[..2], [-1.5, 1.0]);
        softmax(&[0.0, 0.0, 1.0, 1.0 + 2.0_f32.ln()], 2, &mut out);
        for (found, expected) in out.iter().zip([0.5, 0.5, 1.0 / 3.0, 2.0 / 3.0]) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
    }

    #[test]
    fn the_gelus_have_their_known_values() {
        let mut out = [0.0; 3];
        apply(&[0.0, 1.0, -2.0], &mut out, gelu);
        for (found, expected) in out.iter().zip([0.0, 0.841_344_7, -0.045_500_26]) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
        apply(&[0.0, 1.0, -2.0], &mut out, quick_gelu);
        for (found, expected) in out.iter().zip([0.0, 0.845_795_8, -0.064_341_38]) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
        apply(&[0.0, 1.0, -2.0], &mut out, gelu_tanh);
        for (found, expected) in out.iter().zip([0.0, 0.841_192, -0.045_402_3]) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
    }
}
