//! ROAD's way to remove pixels (Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
//! ICML 2022, arXiv 2202.00449): each becomes the weighted mean of its eight neighbours, all at once.
//!
//! Direct neighbours weigh 1/6 and diagonal ones 1/12; neighbours beyond the border are left out of the mean. With
//! the removed pixels x unknown this is a sparse system that is symmetric and positive definite, and conjugate
//! gradients (Hestenes and Stiefel, 1952) solve it here, where the authors' code factorises it. ROAD's score is the
//! mean change of the model's score over the removal of 10, 20 ... 90 % of the pixels, as in pytorch-grad-cam;
//! combined it is (least first − most first) / 2, and more is better.

use fieldmark_model::random::Random;

/// What the four direct neighbours weigh.
const DIRECT: f64 = 1.0 / 6.0;
/// What the four diagonal ones do.
const DIAGONAL: f64 = 1.0 / 12.0;

/// Where the residual's norm is so much smaller than it was, a system counts as solved: some 1e-5 off, where a step of
/// 8 bits is some 1e-2 of a normalised pixel.
const TOLERANCE: f64 = 1e-6;

/// The most steps of the solver: the widest holes of large inputs need some hundreds.
const MOST_STEPS: usize = 10_000;

/// The percentages of the pixels that stay, as pytorch-grad-cam has them.
pub const PERCENTILES: [usize; 9] = [10, 20, 30, 40, 50, 60, 70, 80, 90];

/// How many of `all` pixels are removed at a percentile of the map: those that are not below it, with NumPy's linear
/// percentile of values that are all different.
pub fn removed_at(percentile: usize, all: usize) -> usize {
    all - (percentile * all.saturating_sub(1)).div_ceil(100).min(all)
}

/// Fills in the removed pixels of a picture and adds normal noise to them.
///
/// `pixels` holds the channels one after another, each row by row, `width` values a row, as does the result; `removed`
/// is one channel's size. `noise` is the deviation in units of `pixels` and `random` its source: the authors add 0.01,
/// so that a model cannot recognise the smooth parts. Where every pixel is removed there is nothing to fill in from, and
/// all become the channel's mean.
///
/// # Panics
/// If `pixels` is not made of whole channels, or a channel not of whole rows.
pub fn impute(pixels: &[f32], removed: &[bool], width: usize, noise: f64, random: &mut Random) -> Vec<f32> {
    assert!(width > 0 && removed.len().is_multiple_of(width), "a channel is made of whole rows");
    assert!(pixels.len().is_multiple_of(removed.len().max(1)), "the picture is made of whole channels");
    let system = System::new(removed, width);
    let mut filled = pixels.to_vec();
    for channel in filled.chunks_exact_mut(removed.len().max(1)) {
        let solution = system.solve(channel);
        for ((pixel, value), _) in
            channel.iter_mut().zip(solution).zip(removed).filter(|(_, removed)| **removed)
        {
            *pixel = (value + noise * random.normal()) as f32;
        }
    }
    filled
}

/// The equations of the removed pixels: (Σ w) x_i − Σ w x_j = Σ w v_j, over the removed neighbours j on the left and
/// the known ones on the right. Everything lies on the picture with a border of one pixel, which is 0, as are the
/// known pixels among the unknowns: so a product with the matrix runs along rows and looks nothing up.
struct System {
    /// Pixels a row, the border's included.
    width: usize,
    /// 1 for removed pixels, else 0.
    unknown: Vec<f64>,
    /// For each pixel the sum of the weights of its neighbours on the picture.
    diagonal: Vec<f64>,
}

impl System {
    fn new(removed: &[bool], width: usize) -> Self {
        let unknown = removed.iter().map(|removed| f64::from(u8::from(*removed)));
        let ones = bordered(std::iter::repeat_n(1.0, removed.len()), width);
        let mut diagonal = vec![0.0; ones.len()];
        add_around(&ones, width + 2, 1.0, &mut diagonal);
        Self { width: width + 2, unknown: bordered(unknown, width), diagonal }
    }

    /// A value for every pixel of a channel, by conjugate gradients from the mean of its known pixels; only those
    /// of the unknown ones mean something.
    fn solve(&self, channel: &[f32]) -> Vec<f64> {
        let values = bordered(channel.iter().map(|value| f64::from(*value)), self.width - 2);
        let known = self.unknown.iter().map(|unknown| 1.0 - unknown);
        let inside = self.diagonal.iter().map(|weight| f64::from(u8::from(*weight > 0.0)));
        let known: Vec<f64> = known.zip(inside).map(|(known, inside)| known * inside).collect();
        let start = mean(&values, &known).unwrap_or_else(|| mean(&values, &self.unknown).unwrap_or(0.0));
        // What the mean does not solve: only equations with a known neighbour have a residual.
        let above: Vec<f64> =
            values.iter().zip(&known).map(|(value, known)| (value - start) * known).collect();
        let mut residual = vec![0.0; values.len()];
        add_around(&above, self.width, 1.0, &mut residual);
        residual.iter_mut().zip(&self.unknown).for_each(|(value, unknown)| *value *= unknown);
        let correction = self.conjugate_gradients(residual);
        let rows = correction.chunks_exact(self.width).skip(1);
        let inner = rows.flat_map(|row| &row[1..self.width - 1]);
        inner.take(channel.len()).map(|correction| start + correction).collect()
    }

    /// The solution for a right side.
    fn conjugate_gradients(&self, mut residual: Vec<f64>) -> Vec<f64> {
        let mut solution = vec![0.0; residual.len()];
        let mut direction = residual.clone();
        let mut product = vec![0.0; residual.len()];
        let mut square = dot(&residual, &residual);
        let enough = square * TOLERANCE * TOLERANCE;
        for _ in 0..MOST_STEPS {
            if square <= enough {
                break;
            }
            self.apply(&direction, &mut product);
            let length = square / dot(&direction, &product);
            solution.iter_mut().zip(&direction).for_each(|(value, step)| *value += length * step);
            residual.iter_mut().zip(&product).for_each(|(value, step)| *value -= length * step);
            let next = dot(&residual, &residual);
            let keep = next / square;
            direction.iter_mut().zip(&residual).for_each(|(value, step)| *value = step + keep * *value);
            square = next;
        }
        solution
    }

    /// The left side of the equations.
    fn apply(&self, values: &[f64], output: &mut [f64]) {
        let own = output.iter_mut().zip(values).zip(&self.diagonal);
        own.for_each(|((output, value), weight)| *output = weight * value);
        add_around(values, self.width, -1.0, output);
        output.iter_mut().zip(&self.unknown).for_each(|(value, unknown)| *value *= unknown);
    }
}

/// Adds so many times the weighted sum of a pixel's neighbours to every pixel within the border.
fn add_around(values: &[f64], width: usize, times: f64, output: &mut [f64]) {
    let inner = width - 2;
    for y in 1..values.len() / width - 1 {
        let row = |y: usize| &values[y * width..][..inner + 2];
        let (above, here, below) = (row(y - 1), row(y), row(y + 1));
        for (x, output) in output[y * width + 1..][..inner].iter_mut().enumerate() {
            let direct = above[x + 1] + here[x] + here[x + 2] + below[x + 1];
            let diagonal = above[x] + above[x + 2] + below[x] + below[x + 2];
            *output += times * (DIRECT * direct + DIAGONAL * diagonal);
        }
    }
}

/// A picture with a border of zeros.
fn bordered(values: impl ExactSizeIterator<Item = f64>, width: usize) -> Vec<f64> {
    let mut output = vec![0.0; (values.len() / width + 2) * (width + 2)];
    for (pixel, value) in values.enumerate() {
        output[(pixel / width + 1) * (width + 2) + pixel % width + 1] = value;
    }
    output
}

/// The weighted mean; none where nothing weighs.
fn mean(values: &[f64], weights: &[f64]) -> Option<f64> {
    let total: f64 = weights.iter().sum();
    (total > 0.0).then(|| dot(values, weights) / total)
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pixels: &[f32], removed: &[usize], width: usize) -> Vec<f32> {
        let mask: Vec<bool> = (0..pixels.len()).map(|pixel| removed.contains(&pixel)).collect();
        impute(pixels, &mask, width, 0.0, &mut Random::new(1))
    }

    #[test]
    fn one_pixel_becomes_the_weighted_mean_of_its_neighbours() {
        // Direct ones 6, diagonal ones 12: (4 · 6 / 6 + 4 · 12 / 12) over a sum of 1.
        let picture = [12.0, 6.0, 12.0, 6.0, 99.0, 6.0, 12.0, 6.0, 12.0];
        assert!((filled(&picture, &[4], 3)[4] - 8.0).abs() < 1e-5);
        // In the corner: 6 twice by 1/6 and 99 by 1/12, over 5/12.
        assert!((filled(&picture, &[0], 3)[0] - (2.0 + 8.25) / (5.0 / 12.0)).abs() < 1e-4);
    }

    #[test]
    fn a_constant_picture_stays_constant_however_much_is_removed() {
        let removed: Vec<usize> = (1..40 * 30).collect();
        assert!(filled(&[7.0; 1200], &removed, 40).iter().all(|value| (value - 7.0).abs() < 1e-5));
        let all: Vec<usize> = (0..12).collect();
        assert_eq!(filled(&[3.0; 12], &all, 4), [3.0; 12]);
    }

    #[test]
    fn between_two_sides_a_line_is_filled_in() {
        // Columns 0 and 9 known: the equations of every row have the straight line as their solution.
        let picture: Vec<f32> = (0..50).map(|pixel| if pixel % 10 == 9 { 9.0 } else { 0.0 }).collect();
        let removed: Vec<usize> = (0..50).filter(|pixel| !matches!(pixel % 10, 0 | 9)).collect();
        for (pixel, value) in filled(&picture, &removed, 10).iter().enumerate() {
            assert!((value - (pixel % 10) as f32).abs() < 1e-4, "pixel {pixel}: {value}");
        }
    }

    #[test]
    fn channels_are_filled_in_apart_and_noise_is_on_removed_pixels_only() {
        let picture = [1.0, 1.0, 1.0, 5.0, 5.0, 5.0];
        let mask = [false, true, false];
        assert_eq!(impute(&picture, &mask, 3, 0.0, &mut Random::new(1)), picture);
        let noisy = impute(&picture, &mask, 3, 0.5, &mut Random::new(1));
        let changed: Vec<usize> = (0..6).filter(|pixel| noisy[*pixel] != picture[*pixel]).collect();
        assert_eq!(changed, [1, 4]);
        assert_eq!(noisy, impute(&picture, &mask, 3, 0.5, &mut Random::new(1)));
    }

    #[test]
    fn as_many_are_removed_as_numpys_percentile_leaves() {
        // 11 values 0 to 10: the 25th percentile is 2.5, and 8 values are not below it; the 20th is 2, and 9 are not.
        assert_eq!((removed_at(25, 11), removed_at(20, 11)), (8, 9));
        assert_eq!((removed_at(10, 1), removed_at(90, 50_176)), (1, 5018));
    }
}
