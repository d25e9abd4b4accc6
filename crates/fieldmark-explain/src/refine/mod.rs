//! REFINE: improves a map with further knowledge of the photo and the model: the blocks' attention, the
//! photo's edges, closer looks at its parts, and tokens that are not about their place.
//!
//! What goes in and what comes out are signed maps in logits. Nothing here runs a model.

mod affinity;
mod artifacts;
mod guided;
mod tiles;

pub use affinity::{Affinity, BLOCKS, BOX_THRESHOLD};
pub use artifacts::{Artifacts, FACTOR, SPREADS, fill, find};
pub use guided::{MOST_CELLS, guided};
pub use tiles::{Blend, Layout, Tiles};

use fieldmark_model::named;

/// A way to refine a finished map. Of several, the order is that of the list: first on the grid, then on the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refinement {
    /// On the grid: evidence is shared between patches that attend to each other ([`Affinity`]).
    Affinity,
    /// On the photo's pixels: the map follows the photo's edges ([`guided`]).
    Guided,
}

named!(Refinement, "refine", Affinity => "affinity", Guided => "guided");
