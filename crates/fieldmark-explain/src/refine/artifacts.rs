//! Tokens that are not about their place, and maps without them.
//!
//! Large vision transformers turn some patches of dull background into a memory for the whole photo: their tokens
//! get a norm many times that of the others, and maps a bright speck that means nothing there (Darcet et al.,
//! *Vision Transformers Need Registers*, ICLR 2024, arXiv 2309.16588). The paper cuts at a fixed norm, read off a
//! histogram for every model. Here the photo's own tokens are the measure.

use super::affinity::neighbours;
use crate::attribution::ConceptMap;
use fieldmark_model::named;

/// An artefact's norm is larger than the median of all patches' by more than this many times their spread (the
/// median of the distances from the median, times 1.4826, which for a normal distribution is the standard
/// deviation). Of normally distributed norms, one in some 3 million is.
pub const SPREADS: f64 = 5.0;

/// And it is larger than this many times the median: where all tokens are nearly alike, a large number of tiny
/// spreads is still next to nothing. The paper's outliers have some ten times the norm of the others.
pub const FACTOR: f64 = 2.0;

/// How evidence on tokens that do not describe their place is handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Artifacts {
    /// It stays, and such tokens are reported.
    #[default]
    Keep,
    /// It is replaced by that of the patches around.
    Suppress,
}

named!(Artifacts, "artifacts", Keep => "keep", Suppress => "suppress");

/// The cells whose tokens stand out: see [`SPREADS`] and [`FACTOR`]. `norms` has the Euclidean norm of every patch's
/// token in the residual stream that enters the explained block.
pub fn find(norms: &[f32]) -> Vec<usize> {
    let Some(middle) = median(norms.iter().map(|norm| f64::from(*norm)).collect()) else { return Vec::new() };
    let distances = norms.iter().map(|norm| (f64::from(*norm) - middle).abs()).collect();
    let spread = 1.4826 * median(distances).unwrap_or(0.0);
    let limit = (middle + SPREADS * spread).max(FACTOR * middle);
    (0..norms.len()).filter(|cell| f64::from(norms[*cell]) > limit).collect()
}

/// The map with the evidence of some cells replaced by the mean of the cells around (8 neighbours) that are none of
/// them. In a cluster the outermost come first and then count as neighbours of the others.
pub fn fill(map: &ConceptMap, cells: &[usize]) -> ConceptMap {
    let mut values = map.values().to_vec();
    let mut known: Vec<bool> = (0..values.len()).map(|cell| !cells.contains(&cell)).collect();
    let mut open: Vec<usize> = (0..values.len()).filter(|cell| !known[*cell]).collect();
    while !open.is_empty() {
        let mean = |cell: &usize| {
            let around: Vec<f32> = neighbours(map.grid(), *cell)
                .filter(|other| known[*other])
                .map(|other| values[other])
                .collect();
            (!around.is_empty()).then(|| (*cell, around.iter().sum::<f32>() / around.len() as f32))
        };
        let filled: Vec<(usize, f32)> = open.iter().filter_map(mean).collect();
        if filled.is_empty() {
            break;
        }
        for (cell, value) in filled {
            values[cell] = value;
            known[cell] = true;
        }
        open.retain(|cell| !known[*cell]);
    }
    map.on_grid(values, *map.placement())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        0 => Some((values.get(half.checked_sub(1)?)? + values.get(half)?) / 2.0),
        _ => values.get(half).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fieldmark_model::geometry::{Grid, Placement, Rect, Size};

    #[test]
    fn only_norms_far_from_all_others_stand_out() {
        assert_eq!(find(&[10.0, 11.0, 9.0, 10.0, 95.0, 10.5, 21.5]), [4, 6]);
        // More than five spreads, but not twice the median.
        assert!(find(&[10.0, 10.0, 10.0, 10.0, 12.0]).is_empty());
        // Twice the median, but norms of ordinary tokens differ that much.
        assert!(find(&[2.0, 30.0, 10.0, 17.0, 5.0]).is_empty());
        assert!(find(&[]).is_empty());
    }

    #[test]
    fn cells_are_filled_from_outside_in() {
        let grid = Grid::new(1, 5);
        let photo = Size::new(80, 16);
        let placement = Placement { photo, input: photo, grid, covers: Rect::whole(photo) };
        let map = ConceptMap::new(vec![1.0, 50.0, -60.0, 70.0, 3.0], placement);
        assert_eq!(fill(&map, &[1, 2, 3]).values(), [1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(fill(&map, &[]), map);
        assert_eq!(fill(&map, &[0, 1, 2, 3, 4]), map, "nothing to fill from");
    }
}
