//! The projection of rows on their first principal component, which the Eigen-CAMs show.
//!
//! pytorch-grad-cam takes the first right singular vector v of the centred rows X from a full decomposition. Only X v
//! is needed, which is the leading eigenvector of X Xᵀ times the largest singular value. Lanczos' iteration with full
//! reorthogonalisation finds it with a few dozen products, also where the second singular value is close, and in 64
//! bits. The products are written out: candle's in 64 bits are not what this crate is built to do fast.

use candle_core::{DType, Device, Tensor};

use fieldmark_model::error::Result;

/// How far a vector may be from an eigenvector: the residual's length over the eigenvalue. What is left of the other
/// components is this over the relative distance of the two largest eigenvalues.
const TOLERANCE: f64 = 1e-11;

/// After so many steps the residual is looked at again.
const STEPS_BETWEEN_CHECKS: usize = 8;

/// The rows, centred, on their first principal component; which end is positive is arbitrary. All zero where the rows
/// are alike. Where the two largest singular values are equal, the direction in their plane is arbitrary.
///
/// # Shapes
/// `rows`: [cells, width]; returns a value a cell.
///
/// # Errors
/// If the tensor computation fails.
pub(super) fn projection(rows: &Tensor) -> Result<Vec<f64>> {
    let rows = rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let (cells, width) = rows.dims2()?;
    let centred = rows.broadcast_sub(&rows.mean_keepdim(0)?)?.flatten_all()?.to_vec1::<f64>()?;
    let rows: Vec<&[f64]> = centred.chunks_exact(width.max(1)).collect();
    let largest = centred.iter().fold(0.0, |top: f64, value| top.max(value.abs()));
    if !largest.is_normal() {
        return Ok(vec![0.0; cells]);
    }
    let (variance, vector) = leading(&rows);
    Ok(vector.into_iter().map(|value| value * variance.max(0.0).sqrt()).collect())
}

/// The largest eigenvalue of X Xᵀ, and its unit eigenvector.
fn leading(rows: &[&[f64]]) -> (f64, Vec<f64>) {
    let mut basis: Vec<Vec<f64>> = vec![start(rows.len())];
    let mut band = Band::default();
    loop {
        let step = basis.len();
        let mut next = product(rows, &basis[step - 1]);
        band.diagonal.push(dot(&next, &basis[step - 1]));
        // Twice is enough: what rounding left the first time is taken out the second.
        for vector in basis.iter().chain(&basis) {
            let along = dot(&next, vector);
            next.iter_mut().zip(vector).for_each(|(value, other)| *value -= along * other);
        }
        let rest = dot(&next, &next).sqrt();
        let is_last = step == rows.len() || rest <= f64::EPSILON * band.size();
        if is_last || step.is_multiple_of(STEPS_BETWEEN_CHECKS) {
            let (value, weights) = band.leading();
            let residual = rest * weights.last().copied().unwrap_or(0.0).abs();
            if is_last || residual <= TOLERANCE * value {
                return (value, combined(&basis, &weights));
            }
        }
        band.beside.push(rest);
        basis.push(next.into_iter().map(|value| value / rest).collect());
    }
}

/// A unit vector that no structure of a picture is likely to be orthogonal to: fractions of multiples of the golden
/// ratio.
fn start(cells: usize) -> Vec<f64> {
    let values: Vec<f64> =
        (1..=cells).map(|cell| (cell as f64 * 0.618_033_988_749_895).fract() - 0.5).collect();
    let length = dot(&values, &values).sqrt();
    values.into_iter().map(|value| value / length).collect()
}

/// X Xᵀ times a vector.
fn product(rows: &[&[f64]], vector: &[f64]) -> Vec<f64> {
    let mut across = vec![0.0; rows.first().map_or(0, |row| row.len())];
    for (row, share) in rows.iter().zip(vector) {
        across.iter_mut().zip(*row).for_each(|(sum, value)| *sum += share * value);
    }
    rows.iter().map(|row| dot(row, &across)).collect()
}

fn combined(basis: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; basis.first().map_or(0, Vec::len)];
    for (vector, weight) in basis.iter().zip(weights) {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
    }
    let length = dot(&sum, &sum).sqrt();
    sum.into_iter().map(|value| value / length).collect()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// A symmetric tridiagonal matrix: X Xᵀ in the iteration's basis.
#[derive(Debug, Default)]
struct Band {
    diagonal: Vec<f64>,
    /// Beside the diagonal, one shorter.
    beside: Vec<f64>,
}

impl Band {
    /// A bound of the eigenvalues: the largest sum of a row's absolute values (Gershgorin).
    fn size(&self) -> f64 {
        let beside =
            |index: Option<usize>| index.and_then(|index| self.beside.get(index)).map_or(0.0, |x| x.abs());
        let row =
            |(index, value): (usize, &f64)| value.abs() + beside(index.checked_sub(1)) + beside(Some(index));
        self.diagonal.iter().enumerate().map(row).fold(0.0, f64::max)
    }

    /// The largest eigenvalue and its unit eigenvector: bisection, then inverse iteration from just above, where the
    /// matrix less the shift is definite and needs no pivots.
    fn leading(&self) -> (f64, Vec<f64>) {
        let (mut low, mut high) = (0.0, self.size() * (1.0 + 1e-12));
        while high - low > 4.0 * f64::EPSILON * high {
            let middle = f64::midpoint(low, high);
            let is_above = self.pivots(middle).iter().all(|pivot| *pivot < 0.0);
            *(if is_above { &mut high } else { &mut low }) = middle;
        }
        let pivots = self.pivots(high);
        let mut vector = vec![1.0; self.diagonal.len()];
        for _ in 0..4 {
            vector = self.solved(&pivots, vector);
        }
        (high, vector)
    }

    /// The pivots of the matrix less a shift; all negative where the shift is above every eigenvalue.
    fn pivots(&self, shift: f64) -> Vec<f64> {
        let mut pivots: Vec<f64> = Vec::with_capacity(self.diagonal.len());
        for (index, value) in self.diagonal.iter().enumerate() {
            let taken =
                index.checked_sub(1).map_or(0.0, |before| self.beside[before].powi(2) / pivots[before]);
            let pivot = value - shift - taken;
            pivots.push(if pivot == 0.0 { -f64::MIN_POSITIVE } else { pivot });
        }
        pivots
    }

    /// The solution of (matrix - shift) x = right, as a unit vector.
    fn solved(&self, pivots: &[f64], mut right: Vec<f64>) -> Vec<f64> {
        for index in 1..right.len() {
            right[index] -= self.beside[index - 1] / pivots[index - 1] * right[index - 1];
        }
        for index in (0..right.len()).rev() {
            let after = right.get(index + 1).map_or(0.0, |next| self.beside[index] * next);
            right[index] = (right[index] - after) / pivots[index];
        }
        // Near an eigenvalue the solution is huge, and its square may overflow.
        let largest = right.iter().fold(0.0, |top: f64, value| top.max(value.abs()));
        right.iter_mut().for_each(|value| *value /= largest);
        let length = dot(&right, &right).sqrt();
        right.into_iter().map(|value| value / length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with the given singular values along fixed orthonormal directions, centred; and the first times its
    /// left vector.
    fn rows(values: [f64; 2], width: usize) -> Result<(Tensor, [f64; 4])> {
        let left = [[0.5, 0.5, -0.5, -0.5], [0.5, -0.5, 0.5, -0.5]];
        let right = |which: usize, column: usize| match column {
            0 => [0.6, 0.8][which],
            1 => [0.8, -0.6][which],
            _ => 0.0,
        };
        let cell = |row: usize, column: usize| {
            (0..2).map(|which| values[which] * left[which][row] * right(which, column)).sum::<f64>()
        };
        let all: Vec<f64> = (0..4 * width).map(|at| cell(at / width, at % width)).collect();
        Ok((Tensor::from_vec(all, (4, width), &Device::Cpu)?, left[0].map(|x| x * values[0])))
    }

    /// The largest difference, whichever end is positive.
    fn difference(found: &[f64], expected: &[f64]) -> f64 {
        let off = |sign: f64| {
            found.iter().zip(expected).map(|(one, other)| (one - sign * other).abs()).fold(0.0, f64::max)
        };
        off(1.0).min(off(-1.0))
    }

    #[test]
    fn close_singular_values_are_separated() -> Result<()> {
        for width in [2, 3, 7] {
            for second in [0.0, 2.0, 2.999, 2.999_997] {
                let (rows, expected) = rows([3.0, second], width)?;
                let off = difference(&projection(&rows)?, &expected);
                assert!(off < 1e-8, "width {width}, second value {second}: off by {off}");
            }
        }
        Ok(())
    }

    #[test]
    fn many_close_singular_values_are_separated() -> Result<()> {
        // A diagonal matrix has its entries as singular values, and centring changes it little: its projection is
        // checked by its definition: X Xᵀ keeps its direction, and that no other direction varies more.
        let size = 60;
        let entry =
            |at: usize| if at.is_multiple_of(size + 1) { 1.0 - (at / (size + 1)) as f64 * 1e-5 } else { 0.0 };
        let matrix: Vec<f64> = (0..size * size).map(entry).collect();
        let rows = Tensor::from_vec(matrix, (size, size), &Device::Cpu)?;
        let found = projection(&rows)?;
        let centred = rows.broadcast_sub(&rows.mean_keepdim(0)?)?.flatten_all()?.to_vec1::<f64>()?;
        let rows: Vec<&[f64]> = centred.chunks_exact(size).collect();
        let variance = dot(&found, &found);
        let image: Vec<f64> = product(&rows, &found).iter().map(|value| value / variance).collect();
        assert!(difference(&image, &found) < 1e-10);
        // The first two eigenvalues of the uncentred are 1 and 1 - 2e-5; centring may take a share from either.
        assert!(variance > 1.0 - 2e-5 && variance <= 1.0, "{variance}");
        Ok(())
    }

    #[test]
    fn equal_singular_values_give_something_finite_and_equal_rows_nothing() -> Result<()> {
        let (rows, _) = rows([3.0, 3.0], 3)?;
        let found = projection(&rows)?;
        assert!((dot(&found, &found) - 9.0).abs() < 1e-9, "{found:?}");
        let alike = Tensor::ones((4, 3), DType::F32, &Device::Cpu)?;
        assert_eq!(projection(&alike)?, [0.0; 4]);
        Ok(())
    }
}
