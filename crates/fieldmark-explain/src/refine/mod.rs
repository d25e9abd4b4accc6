//! REFINE: a map becomes a better one by what else is known of the photo and the model: the blocks' attention, the
//! photo's edges, closer looks at its parts, and tokens that are not about their place.
//!
//! What goes in and what comes out are signed maps in logits. Nothing here runs a model.

mod affinity;
mod artifacts;
mod guided;
mod tiles;

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

pub use affinity::{Affinity, BLOCKS, BOX_THRESHOLD};
pub use artifacts::{Artifacts, FACTOR, SPREADS, fill, find};
pub use guided::{MOST_CELLS, guided};
pub use tiles::{Blend, Layout, Tiles};

use fieldmark_model::error::{Error, Result};

/// A way to refine a finished map. Of several, the order is fixed: first on the grid, then on the pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refinement {
    /// On the grid: evidence is shared between patches that attend to each other ([`Affinity`]).
    Affinity,
    /// On the photo's pixels: the map follows the photo's edges ([`guided`]).
    Guided,
}

/// Every refinement, in the order in which they are applied.
pub const REFINEMENTS: [Refinement; 2] = [Refinement::Affinity, Refinement::Guided];

impl Refinement {
    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::Guided => "guided",
        }
    }
}

impl fmt::Display for Refinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Refinement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = REFINEMENTS.into_iter().find(|refinement| refinement.name() == text);
        let names = || REFINEMENTS.map(Self::name).join(", ");
        let reason = || format!("expected some of {}, found {text:?}", names());
        found.ok_or_else(|| Error::Option { option: "refine", reason: reason() })
    }
}

impl Serialize for Refinement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for refinement in REFINEMENTS {
            assert_eq!(refinement.to_string().parse::<Refinement>().unwrap(), refinement);
        }
        let error = "crf".parse::<Refinement>().unwrap_err().to_string();
        assert!(error.contains("affinity, guided") && error.contains("\"crf\""), "{error}");
    }
}
