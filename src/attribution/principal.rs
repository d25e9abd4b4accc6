//! The projection of rows on their first principal component, which the Eigen-CAMs show.
//!
//! pytorch-grad-cam takes the first right singular vector v of the centred rows X from a full decomposition. Only X v
//! is needed, and it comes from the smaller of the Gram matrices X Xᵀ and Xᵀ X: of the first it is the leading
//! eigenvector times the singular value, of the second it is X times the leading eigenvector. Squaring a Gram matrix
//! squares the ratios of its eigenvalues, so that a few dozen products leave the leading eigenvector alone, also where
//! the second singular value is close: after 30 squarings one that is smaller by a millionth has vanished. All of it is
//! in 64 bits, on the processor: other devices lack them.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// The share of a squared Gram matrix that may be something else than its leading eigenvector.
const TOLERANCE: f64 = 1e-12;

/// Squarings at most. Where the two largest singular values are nearer to each other than a billionth, the direction
/// in their plane is arbitrary, in the reference too.
const SQUARINGS: usize = 32;

/// The rows, centred, on their first principal component; which end is positive is arbitrary. All zero where the rows
/// are alike.
///
/// # Shapes
/// `rows`: [cells, width]; returns `[cells]`, 64 bits, on the processor.
///
/// # Errors
/// If the tensor computation fails.
pub(super) fn projection(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let centred = rows.broadcast_sub(&rows.mean_keepdim(0)?)?;
    let (cells, width) = centred.dims2()?;
    if cells <= width {
        let gram = centred.matmul(&centred.t()?)?;
        let Some(leading) = leading_eigenvector(&gram)? else { return Ok(centred.zeros_like()?.sum(1)?) };
        let column = leading.unsqueeze(1)?;
        let variance = column.t()?.matmul(&gram)?.matmul(&column)?.sum_all()?.to_scalar::<f64>()?;
        return Ok((leading * variance.max(0.0).sqrt())?);
    }
    let gram = centred.t()?.matmul(&centred)?;
    let Some(leading) = leading_eigenvector(&gram)? else { return Ok(centred.zeros_like()?.sum(1)?) };
    Ok(centred.matmul(&leading.unsqueeze(1)?)?.squeeze(1)?)
}

/// The unit eigenvector of the largest eigenvalue; none of a matrix of zeros.
///
/// # Shapes
/// `gram`, symmetric and without negative eigenvalues: [size, size]; returns `[size]`.
fn leading_eigenvector(gram: &Tensor) -> Result<Option<Tensor>> {
    let Some(mut power) = with_trace_1(gram)? else { return Ok(None) };
    for _ in 0..SQUARINGS {
        // Of trace 1, the sum of the squares is 1 only where one eigenvalue is left.
        let rest = 1.0 - power.sqr()?.sum_all()?.to_scalar::<f64>()?;
        if rest < TOLERANCE {
            break;
        }
        match with_trace_1(&power.matmul(&power)?)? {
            Some(squared) => power = squared,
            None => break,
        }
    }
    // What is left is v vᵀ: any column is v, and the one with the largest diagonal the most exact.
    let diagonal = diagonal(&power)?;
    let largest = (0..diagonal.len()).max_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b])).unwrap_or(0);
    let column = power.narrow(1, largest, 1)?.squeeze(1)?;
    let length = column.sqr()?.sum_all()?.sqrt()?;
    Ok(Some(column.broadcast_div(&length)?))
}

/// The matrix over its trace; none if there is none, or it is not finite.
fn with_trace_1(matrix: &Tensor) -> Result<Option<Tensor>> {
    let trace: f64 = diagonal(matrix)?.iter().sum();
    match trace.is_finite() && trace > 0.0 {
        true => Ok(Some((matrix / trace)?)),
        false => Ok(None),
    }
}

fn diagonal(matrix: &Tensor) -> Result<Vec<f64>> {
    let size = matrix.dim(0)?;
    let values = matrix.flatten_all()?.to_vec1::<f64>()?;
    Ok(values.into_iter().step_by(size + 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows with the given singular values along fixed orthonormal directions, centred.
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
    fn difference(found: &Tensor, expected: &[f64]) -> Result<f64> {
        let found = found.to_vec1::<f64>()?;
        let off = |sign: f64| {
            found.iter().zip(expected).map(|(one, other)| (one - sign * other).abs()).fold(0.0, f64::max)
        };
        Ok(off(1.0).min(off(-1.0)))
    }

    #[test]
    fn close_singular_values_are_told_apart_from_either_side() -> Result<()> {
        for width in [2, 3, 7] {
            for second in [0.0, 2.0, 2.999, 2.999_997] {
                let (rows, expected) = rows([3.0, second], width)?;
                let off = difference(&projection(&rows)?, &expected)?;
                assert!(off < 1e-8, "width {width}, second value {second}: off by {off}");
            }
        }
        Ok(())
    }

    #[test]
    fn equal_singular_values_give_something_finite_and_equal_rows_nothing() -> Result<()> {
        let (rows, _) = rows([3.0, 3.0], 3)?;
        let found = projection(&rows)?.to_vec1::<f64>()?;
        assert!((found.iter().map(|x| x * x).sum::<f64>() - 9.0).abs() < 1e-9, "{found:?}");
        let alike = Tensor::ones((4, 3), DType::F32, &Device::Cpu)?;
        assert_eq!(projection(&alike)?.to_vec1::<f64>()?, [0.0; 4]);
        Ok(())
    }
}
