//! Matrix products on slices, by the gemm crate, without a copy and without a tensor around them.

use gemm::Parallelism;

/// A matrix inside a slice: element (row, column) lies at row · `row_step` + column · `column_step`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows are `row_step` apart.
    ///
    /// # Panics
    /// If it reaches beyond the slice.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize, row_step: usize) -> Self {
        assert!(reach(rows, columns, row_step) <= values.len(), "a matrix reaches beyond its slice");
        Self { values, rows, columns, row_step, column_step: 1 }
    }

    /// Rows as columns; nothing is moved.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

/// Where a product goes: rows `row_step` apart.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) row_step: usize,
    /// Whether the product is added to what is there.
    pub(crate) add: bool,
}

/// How many values lie between a matrix's first and last.
fn reach(rows: usize, columns: usize, row_step: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_step + columns }
}

/// output = (output +) scale · left · right, on one thread or on all.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn multiply(output: Output, scale: f32, left: Matrix, right: Matrix, threads: Parallelism) {
    assert_eq!(left.columns, right.rows, "the inner dimensions of a product");
    let (rows, columns) = (left.rows, right.columns);
    assert!(columns <= output.row_step, "the rows of a product do not overlap");
    assert!(reach(rows, columns, output.row_step) <= output.values.len(), "a product fits its place");
    // SAFETY: all three matrices lie inside their slices (`Matrix::new` and the assertions above), and the output
    // is borrowed mutably, so it overlaps neither of the others.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            left.columns,
            output.values.as_mut_ptr(),
            1,
            output.row_step as isize,
            output.add,
            left.values.as_ptr(),
            left.column_step as isize,
            left.row_step as isize,
            right.values.as_ptr(),
            right.column_step as isize,
            right.row_step as isize,
            1.0_f32,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_right_by_hand() {
        let left = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let right = [5.0, 6.0, 7.0, 8.0];
        let mut output = [1.0; 5];
        multiply(
            Output { values: &mut output, row_step: 3, add: false },
            1.0,
            Matrix::new(&left, 2, 2, 3),
            Matrix::new(&right, 2, 2, 2),
            Parallelism::None,
        );
        assert_eq!(output, [19.0, 22.0, 1.0, 43.0, 50.0]);
        let place = Output { values: &mut output, row_step: 3, add: true };
        let right = Matrix::new(&right, 2, 2, 2).transposed();
        multiply(place, 2.0, Matrix::new(&left, 2, 2, 3), right, Parallelism::None);
        assert_eq!(output, [19.0 + 34.0, 22.0 + 46.0, 1.0, 43.0 + 78.0, 50.0 + 106.0]);
    }

    #[test]
    #[should_panic(expected = "reaches beyond its slice")]
    fn a_matrix_beyond_its_slice_is_refused() {
        Matrix::new(&[0.0; 5], 2, 2, 4);
    }
}
