//! ROAD's way to remove pixels (Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
//! ICML 2022, arXiv 2202.00449): each becomes the weighted mean of its eight neighbours, all at once.
//!
//! Direct neighbours weigh 1/6 and diagonal ones 1/12; neighbours beyond the border are left out of the mean. With
//! the removed pixels x unknown this is a sparse system that is symmetric and positive definite, and conjugate
//! gradients (Hestenes and Stiefel, 1952) solve it here, where the authors' code factorises it. ROAD's score is the
//! mean change of the model's score over the removal of 10, 20 ... 90 % of the pixels, as pytorch-grad-cam has it;
//! combined it is (least first − most first) / 2, and more is better.

use crate::random::Random;

/// The neighbours, as steps down and to the right, with their weights.
const NEIGHBOURS: [(isize, isize, f64); 8] = [
    (-1, -1, 1.0 / 12.0),
    (-1, 0, 1.0 / 6.0),
    (-1, 1, 1.0 / 12.0),
    (0, -1, 1.0 / 6.0),
    (0, 1, 1.0 / 6.0),
    (1, -1, 1.0 / 12.0),
    (1, 0, 1.0 / 6.0),
    (1, 1, 1.0 / 12.0),
];

/// Where the residual's norm is so much smaller than the right side's, a system counts as solved: some 1e-5 of the
/// range of the pixels, a hundredth of a step of 8 bits.
const TOLERANCE: f64 = 1e-7;

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
/// so that a model cannot tell the smooth parts. Where every pixel is removed there is nothing to fill in from, and
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
        for (unknown, value) in system.unknowns.iter().zip(solution) {
            channel[*unknown] = (value + noise * random.normal()) as f32;
        }
    }
    filled
}

/// The equations of the removed pixels: (Σ w) x_i − Σ w x_j = Σ w v_j, over the removed neighbours j on the left and
/// the known ones on the right.
struct System {
    /// The removed pixels.
    unknowns: Vec<usize>,
    /// For each its weights' sum.
    diagonal: Vec<f64>,
    /// For each its removed neighbours, as places among the unknowns; 8 a pixel, and those that are missing name the
    /// pixel itself with weight 0.
    inner: Vec<[(u32, f32); 8]>,
    /// For each its known neighbours, as pixels.
    outer: Vec<Vec<(usize, f64)>>,
}

impl System {
    fn new(removed: &[bool], width: usize) -> Self {
        let unknowns: Vec<usize> = (0..removed.len()).filter(|&pixel| removed[pixel]).collect();
        let mut place = vec![0_u32; removed.len()];
        unknowns.iter().enumerate().for_each(|(index, &pixel)| place[pixel] = index as u32);
        let (mut diagonal, mut inner, mut outer) = (Vec::new(), Vec::new(), Vec::new());
        for (index, &pixel) in unknowns.iter().enumerate() {
            let (mut sum, mut known) = (0.0, Vec::new());
            let mut neighbours = [(index as u32, 0.0); 8];
            for (slot, (down, right, weight)) in neighbours.iter_mut().zip(NEIGHBOURS) {
                let Some(other) = step(pixel, down, right, width, removed.len()) else { continue };
                sum += weight;
                match removed[other] {
                    true => *slot = (place[other], weight as f32),
                    false => known.push((other, weight)),
                }
            }
            diagonal.push(sum);
            inner.push(neighbours);
            outer.push(known);
        }
        Self { unknowns, diagonal, inner, outer }
    }

    /// The unknowns of one channel, by conjugate gradients from the mean of the channel's known pixels.
    fn solve(&self, channel: &[f32]) -> Vec<f64> {
        let known = self.outer.iter().flatten().map(|(pixel, _)| f64::from(channel[*pixel]));
        let count = known.clone().count();
        if count == 0 {
            let mean =
                channel.iter().map(|value| f64::from(*value)).sum::<f64>() / channel.len().max(1) as f64;
            return vec![mean; self.unknowns.len()];
        }
        let start = known.sum::<f64>() / count as f64;
        let mut solution = vec![start; self.unknowns.len()];
        // The mean solves the equations whose neighbours are all unknown, so only the others have a residual.
        let right_of = |known: &Vec<(usize, f64)>| -> f64 {
            known.iter().map(|(pixel, weight)| weight * (f64::from(channel[*pixel]) - start)).sum()
        };
        let mut residual: Vec<f64> = self.outer.iter().map(right_of).collect();
        let mut direction = residual.clone();
        let mut square = dot(&residual, &residual);
        let enough = square * TOLERANCE * TOLERANCE;
        let mut product = vec![0.0; residual.len()];
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
        for (index, output) in output.iter_mut().enumerate() {
            let around: f64 = self.inner[index]
                .iter()
                .map(|(neighbour, weight)| f64::from(*weight) * values[*neighbour as usize])
                .sum();
            *output = self.diagonal[index] * values[index] - around;
        }
    }
}

/// The pixel so many steps down and to the right, if it is on the picture.
fn step(pixel: usize, down: isize, right: isize, width: usize, pixels: usize) -> Option<usize> {
    let row = (pixel / width).checked_add_signed(down).filter(|row| *row < pixels / width)?;
    let column = (pixel % width).checked_add_signed(right).filter(|column| *column < width)?;
    Some(row * width + column)
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
