//! What is found on a map.

use serde::{Deserialize, Serialize};

use super::{Corner, Mask};

/// The pixel of the photo with the largest evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Peak {
    /// Pixels to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
}

/// A connected part of the photo with strong evidence: the smallest rectangle around it, and its outline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Region {
    /// Pixels to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
    /// Pixels from its left to its right edge, at least 1.
    pub width: u32,
    /// Pixels from its top to its bottom edge, at least 1.
    pub height: u32,
    /// The evidence in the region (not in the rectangle) over all positive evidence of the photo, 0 to 1.
    pub share: f64,
    /// The pixels in the region (not in the rectangle).
    pub area: u64,
    /// The pixel of the region with the largest evidence.
    pub peak: Peak,
    /// The region's outer line, clockwise: corners between pixels, the first not repeated. It leaves the exact line
    /// by no more than a pixel (in photos of more than 1000 pixels a side, a thousandth of the side), and knows
    /// nothing of holes.
    pub polygon: Vec<Corner>,
}

/// One of the separate places where the concept is.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Where it is.
    pub region: Region,
    /// The evidence at its peak, in logits.
    pub evidence: f32,
    /// Its pixels.
    pub mask: Mask,
}
