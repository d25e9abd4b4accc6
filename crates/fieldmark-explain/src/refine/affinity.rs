//! Class-aware attention affinity: evidence is shared between patches that attend to each other.
//!
//! After CLIP-ES (Lin et al., CVPR 2023, arXiv 2212.09506, sections 3.3 and 4). Patches of one thing attend to each
//! other, so the mean attention A of some blocks says which belong together. Its columns and then its rows are made
//! to sum to 1, three times over (Sinkhorn and Knopp); D is the mean of that and its transpose; and the map is
//! multiplied by D twice, of which only the evidence inside the boxes around its strong parts takes part:
//!
//! ```text
//! M' = D D (B ∘ M)
//! ```
//!
//! Departures from the paper and its code. Maps here are signed: what is shared is the evidence for the concept, as
//! there; evidence against it belongs to other things and stays where it is. (Shared too, it would spread over the
//! thing that is asked about wherever attention is broad, and leave nothing of it.) D D has rows that sum to about 1,
//! so M' is an average of evidence and stays in logits, where the code scales it to 0 to 1. The code rounds the map
//! to 8 bits before it looks for boxes, and its boxes leave out the last row and column of the grid; ours do neither.

use crate::attribution::ConceptMap;
use fieldmark_model::error::{Error, Result};
use fieldmark_model::geometry::Grid;

/// How many blocks' attention is averaged, from the last one on; of a tower that has fewer, all.
pub const BLOCKS: usize = 8;

/// Evidence above this part of the largest is strong. CLIP-ES takes 0.4 for VOC and 0.7 for COCO, whose photos show
/// more things at once; the lower one keeps more of a thing whose parts differ in evidence.
pub const BOX_THRESHOLD: f32 = 0.4;

/// How often columns and rows are made to sum to 1.
const ROUNDS: usize = 3;

/// Which patches belong together: symmetric, [cells, cells], with rows that sum to about 1.
#[derive(Clone, Debug)]
pub struct Affinity {
    weights: Vec<f32>,
    cells: usize,
}

impl Affinity {
    /// From the attention between patches, one row for every patch that asks, averaged over heads and blocks.
    ///
    /// # Shapes
    /// `attention`: [cells, cells], positive; the rows need not sum to 1, for what goes to other tokens is left out.
    ///
    /// # Errors
    /// [`Error::Numeric`] if there are not cells x cells values, or a row or column has no attention at all.
    pub fn new(attention: Vec<f32>, cells: usize) -> Result<Self> {
        let lost = |reason: String| Error::Numeric { what: "attention", reason };
        if attention.len() != cells * cells {
            return Err(lost(format!("expected {cells} x {cells} values, found {}", attention.len())));
        }
        let mut weights = attention;
        for _ in 0..ROUNDS {
            scale_columns(&mut weights, cells);
            scale_rows(&mut weights, cells);
        }
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(lost("expected finite numbers and no patch without attention".into()));
        }
        for row in 0..cells {
            for column in 0..row {
                let (above, below) = (column * cells + row, row * cells + column);
                let mean = (weights[above] + weights[below]) / 2.0;
                weights[above] = mean;
                weights[below] = mean;
            }
        }
        Ok(Self { weights, cells })
    }

    /// The map with its evidence for the concept shared, and that against it where it was.
    ///
    /// # Panics
    /// If the map's grid has another number of cells.
    pub fn refine(&self, map: &ConceptMap) -> ConceptMap {
        assert_eq!(map.grid().cells(), self.cells, "one row a cell");
        let strength = map.values().iter().map(|value| value.max(0.0)).collect();
        let shared = self.shared(&self.shared(&inside_boxes(strength, map.grid())));
        let values = shared.iter().zip(map.values()).map(|(shared, value)| shared + value.min(0.0)).collect();
        map.on_grid(values, *map.placement())
    }

    fn shared(&self, values: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.cells.max(1));
        rows.map(|row| row.iter().zip(values).map(|(weight, value)| weight * value).sum()).collect()
    }
}

fn scale_columns(weights: &mut [f32], cells: usize) {
    let mut sums = vec![0.0_f64; cells];
    for row in weights.chunks_exact(cells.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f64::from(*weight));
    }
    for row in weights.chunks_exact_mut(cells.max(1)) {
        row.iter_mut().zip(&sums).for_each(|(weight, sum)| *weight = (f64::from(*weight) / sum) as f32);
    }
}

fn scale_rows(weights: &mut [f32], cells: usize) {
    for row in weights.chunks_exact_mut(cells.max(1)) {
        let sum: f64 = row.iter().map(|weight| f64::from(*weight)).sum();
        row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) / sum) as f32);
    }
}

/// The values (none below 0) inside the boxes around connected strong ones (8 neighbours); 0 elsewhere.
fn inside_boxes(mut values: Vec<f32>, grid: Grid) -> Vec<f32> {
    let level = BOX_THRESHOLD * values.iter().copied().fold(0.0, f32::max);
    let mut strong: Vec<bool> = values.iter().map(|value| *value > level).collect();
    let mut inside = vec![false; values.len()];
    for first in 0..values.len() {
        if !strong[first] {
            continue;
        }
        let [top, bottom, left, right] = take_component(&mut strong, grid, first);
        for row in top..=bottom {
            inside[row * grid.columns + left..=row * grid.columns + right].fill(true);
        }
    }
    values.iter_mut().zip(inside).filter(|(_, inside)| !inside).for_each(|(value, _)| *value = 0.0);
    values
}

/// Takes the strong cells that are connected to one of them away; returns their first and last row and column.
fn take_component(strong: &mut [bool], grid: Grid, first: usize) -> [usize; 4] {
    let (row, column) = (first / grid.columns, first % grid.columns);
    let mut bounds = [row, row, column, column];
    let mut open = vec![first];
    strong[first] = false;
    while let Some(cell) = open.pop() {
        let (row, column) = (cell / grid.columns, cell % grid.columns);
        let [top, bottom, left, right] = bounds;
        bounds = [top.min(row), bottom.max(row), left.min(column), right.max(column)];
        for neighbour in neighbours(grid, cell) {
            if std::mem::take(&mut strong[neighbour]) {
                open.push(neighbour);
            }
        }
    }
    bounds
}

/// The up to eight cells around one.
pub(super) fn neighbours(grid: Grid, cell: usize) -> impl Iterator<Item = usize> {
    let (row, column) = (cell / grid.columns, cell % grid.columns);
    let around = |at: usize, count: usize| at.saturating_sub(1)..=(at + 1).min(count - 1);
    let cells = around(row, grid.rows)
        .flat_map(move |row| around(column, grid.columns).map(move |column| row * grid.columns + column));
    cells.filter(move |other| *other != cell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::geometry::{Placement, Rect, Size};

    fn map(columns: usize, values: &[f32]) -> ConceptMap {
        let grid = Grid::new(values.len() / columns, columns);
        let photo = Size::new(16 * columns as u32, 16 * grid.rows as u32);
        ConceptMap::new(values.to_vec(), Placement { photo, input: photo, grid, covers: Rect::whole(photo) })
    }

    fn some_attention(cells: usize) -> Vec<f32> {
        (0..cells * cells).map(|at| 0.1 + ((at * 7919) % 97) as f32 / 97.0).collect()
    }

    #[test]
    fn patches_that_attend_only_to_themselves_change_nothing_inside_the_boxes() {
        let mut attention = vec![0.0; 16];
        (0..4).for_each(|cell| attention[cell * 5] = 0.3);
        let refined = Affinity::new(attention, 4).unwrap().refine(&map(4, &[1.0, 0.3, -0.5, -2.0]));
        // 0.3 is below 0.4 of the largest, and in no box.
        assert_eq!(refined.values(), [1.0, 0.0, -0.5, -2.0]);
    }

    #[test]
    fn patches_that_attend_to_each_other_share_their_evidence() {
        // Two pairs: 0 and 1, 2 and 3.
        let pairs = [0.4, 0.4, 0.0, 0.0, 0.4, 0.4, 0.0, 0.0, 0.0, 0.0, 0.4, 0.4, 0.0, 0.0, 0.4, 0.4];
        let refined = Affinity::new(pairs.to_vec(), 4).unwrap().refine(&map(4, &[1.0, 0.0, 0.0, -2.0]));
        for (found, expected) in refined.values().iter().zip([0.5, 0.5, 0.0, -2.0]) {
            assert!((found - expected).abs() < 1e-6, "{:?}", refined.values());
        }
    }

    #[test]
    fn the_box_reaches_over_weak_cells_between_strong_ones() {
        #[rustfmt::skip]
        let values = vec![
            1.0, 0.1, 0.0, 0.0,
            0.1, 1.0, 0.0, 0.2,
            0.0, 0.0, 0.0, 0.5,
        ];
        #[rustfmt::skip]
        let expected = [
            1.0, 0.1, 0.0, 0.0,
            0.1, 1.0, 0.0, 0.0,
            0.0, 0.0, 0.0, 0.5,
        ];
        assert_eq!(inside_boxes(values, Grid::new(3, 4)), expected);
    }

    #[test]
    fn evidence_is_averaged_so_its_sum_and_range_hardly_change() {
        let values: Vec<f32> = (0..12).map(|cell| 2.0 + (cell % 5) as f32 / 4.0).collect();
        let refined = Affinity::new(some_attention(12), 12).unwrap().refine(&map(4, &values));
        let sum = |values: &[f32]| values.iter().sum::<f32>();
        assert!((sum(refined.values()) / sum(&values) - 1.0).abs() < 0.02);
        assert!(refined.values().iter().all(|value| (1.9..3.1).contains(value)), "{:?}", refined.values());
        let against = map(4, &values).negated();
        assert_eq!(
            Affinity::new(some_attention(12), 12).unwrap().refine(&against),
            against,
            "nothing to share"
        );
    }

    #[test]
    fn attention_that_is_missing_or_of_another_size_is_refused() {
        assert!(Affinity::new(vec![1.0; 8], 3).is_err());
        assert!(Affinity::new(vec![0.0; 9], 3).is_err());
    }
}
