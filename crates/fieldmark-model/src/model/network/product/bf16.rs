//! Products of numbers rounded to bfloat16, summed in float32: linear layers of a trunk that is asked for speed.
//!
//! Both sides are laid out in tiles of 16 rows and 32 inner values, a kilobyte each, which is what the processor's
//! instructions read: see [`tiles`](super::tiles). What is missing at the edges is 0.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::{
    Output, Place, reach,
    tiles::{Kernel, SIDE, Square, TILE_SIDE, Tile},
};

/// Inner values in a tile.
const TILE_INNER: usize = 2 * TILE_SIDE;

/// A linear layer's weights in bfloat16, laid out for the processor.
#[derive(Debug)]
pub(crate) struct Weights {
    /// [outputs / 16, inner / 32]; a tile has a row for each pair of inner values, a column for each output.
    tiles: Vec<Tile>,
    outputs: usize,
    inner: usize,
}

impl Weights {
    /// Rounds and lays out weights.
    ///
    /// # Shapes
    /// `pieces`, one below the other: each [some of the outputs, inner].
    pub(crate) fn new(pieces: &[&[f32]], inner: usize) -> Self {
        let outputs = pieces.iter().map(|piece| piece.len()).sum::<usize>() / inner.max(1);
        let whole = |piece: &&[f32]| piece.len().is_multiple_of(TILE_SIDE * inner.max(1));
        let tiles = match pieces {
            [piece] => laid_out(&[piece], inner, Across::Rows),
            pieces if pieces.iter().all(whole) => laid_out(pieces, inner, Across::Rows),
            pieces => laid_out(&[&pieces.concat()], inner, Across::Rows),
        };
        Self { tiles, outputs, inner }
    }
}

/// What goes from left to right in a tile; the other goes down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Across {
    Pairs,
    Rows,
}

/// Lays out rows of `inner` values in tiles, rounded, two strips of them at the end if one is left over. Only the last
/// piece may end in less than a strip.
fn laid_out(pieces: &[&[f32]], inner: usize, across: Across) -> Vec<Tile> {
    let rows = TILE_SIDE * inner.max(1);
    let strips: Vec<&[f32]> = pieces.iter().flat_map(|piece| piece.chunks(rows)).collect();
    let strip = inner.div_ceil(TILE_INNER);
    let mut tiles = vec![Tile::default(); strips.len().next_multiple_of(SIDE / TILE_SIDE) * strip];
    let arch = Arch::new();
    tiles.par_chunks_mut(strip.max(1)).zip(strips).for_each(|(tiles, values)| {
        arch.dispatch(Strip { tiles, values, inner, across });
    });
    tiles
}

/// Sixteen rows, or what is left of them, and their tiles.
struct Strip<'a> {
    tiles: &'a mut [Tile],
    values: &'a [f32],
    inner: usize,
    across: Across,
}

impl NullaryFnOnce for Strip<'_> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        for (at, tile) in self.tiles.iter_mut().enumerate() {
            let mut pairs = Tile::default();
            for (pairs, values) in pairs.iter_mut().zip(self.values.chunks_exact(self.inner)) {
                match values[at * TILE_INNER..].first_chunk() {
                    Some(values) => *pairs = rounded(values),
                    None => {
                        let rest = &values[at * TILE_INNER..];
                        let mut values = [0.0; TILE_INNER];
                        values[..rest.len()].copy_from_slice(rest);
                        *pairs = rounded(&values);
                    }
                }
            }
            match self.across {
                Across::Pairs => *tile = pairs,
                Across::Rows => {
                    for (pair, row) in tile.iter_mut().enumerate() {
                        *row = std::array::from_fn(|column| pairs[column][pair]);
                    }
                }
            }
        }
    }
}

/// Pairs of neighbours, the first in the lower half.
#[inline(always)]
fn rounded(values: &[f32; TILE_INNER]) -> [u32; TILE_SIDE] {
    std::array::from_fn(|pair| {
        u32::from(round(values[2 * pair])) | u32::from(round(values[2 * pair + 1])) << 16
    })
}

/// The bits of the nearest bfloat16, of the even one between two; what is not a number stays none.
#[inline(always)]
fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if value.is_nan() { (bits >> 16) as u16 | 0x40 } else { nearest as u16 }
}

/// output = (output +) left · weightsᵀ on all threads, both sides rounded to bfloat16.
///
/// # Shapes
/// `left`: [rows, inner].
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn multiply(kernel: Kernel, output: Output, left: &[f32], rows: usize, weights: &Weights) {
    let Weights { tiles: right, outputs, inner } = weights;
    assert!(*outputs <= output.row_step, "the rows of a product do not overlap");
    assert!(reach(rows, *outputs, output.row_step) <= output.values.len(), "a product fits its place");
    let left = laid_out(&[&left[..rows * inner]], *inner, Across::Pairs);
    let place = Place { first: output.values.as_mut_ptr(), row_step: output.row_step, add: output.add };
    // Two strips of tiles, which make a square with two strips of the other side.
    let strips = SIDE / TILE_SIDE * inner.div_ceil(TILE_INNER);
    if strips == 0 {
        return;
    }
    right.par_chunks(strips).enumerate().with_min_len(2).for_each_init(
        || kernel.begin(),
        |session, (column, right)| {
            let mut square = Square::default();
            for (row, left) in left.chunks_exact(strips).enumerate() {
                session.multiply(left, right, &mut square);
                let (row, column) = (row * SIDE, column * SIDE);
                let shape = (SIDE.min(rows - row), SIDE.min(outputs - column));
                // SAFETY: the square reaches at most to the end of the product, which lies inside the output's slice,
                // as asserted above; and no two squares have an element in common.
                #[allow(unsafe_code)]
                unsafe {
                    place.put((row, column), shape, &square);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_then_to_the_even() {
        let back = |value: f32| f32::from_bits(u32::from(round(value)) << 16);
        for exact in [0.0, -0.0, 1.0, -2.5, f32::INFINITY, f32::NEG_INFINITY, 1.0 + 1.0 / 128.0] {
            assert_eq!(back(exact).to_bits(), exact.to_bits());
        }
        // Halfway between 1 and 1 + 1/128, and between that and the next.
        assert_eq!(back(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(back(1.0 + 3.0 / 256.0), 1.0 + 2.0 / 128.0);
        assert_eq!(back(1.0 + 1.1 / 256.0), 1.0 + 1.0 / 128.0);
        assert!(back(f32::NAN).is_nan() && back(f32::from_bits(0x7fff_ffff)).is_nan());
    }

    /// Whole numbers up to 16 and their products' sums are exact.
    #[test]
    fn products_of_small_whole_numbers_are_exact() {
        let numbers = |count: usize, step: usize| -> Vec<f32> {
            (0..count).map(|index| (index * step % 33) as f32 - 16.0).collect()
        };
        for kernel in Kernel::all() {
            for (rows, inner, outputs) in [(1, 1, 1), (5, 32, 7), (33, 40, 65), (64, 96, 32), (197, 65, 100)]
            {
                let (left, right) = (numbers(rows * inner, 7), numbers(outputs * inner, 11));
                let row_step = outputs + 3;
                let mut values = vec![1.0; rows * row_step];
                let output = Output { values: &mut values, row_step, add: true };
                // Of two pieces the first may end in the middle of a tile.
                let (upper, lower) = right.split_at(outputs / 2 * inner);
                let whole = Weights::new(&[&right], inner);
                let weights = Weights::new(&[upper, lower], inner);
                assert_eq!(weights.tiles, whole.tiles);
                multiply(kernel, output, &left, rows, &weights);
                for (row, found) in values.chunks(row_step).enumerate() {
                    let left = &left[row * inner..(row + 1) * inner];
                    let mut expected = vec![1.0; row_step];
                    for (expected, right) in expected.iter_mut().zip(right.chunks(inner)) {
                        *expected += left.iter().zip(right).map(|(left, right)| left * right).sum::<f32>();
                    }
                    assert_eq!(found, expected, "{kernel:?}: row {row} of {rows} x {inner} x {outputs}");
                }
            }
        }
    }
}
