//! Corners of outlines, and steps between them.

/// A corner between pixels: how many pixels lie to the left of it, and how many above.
pub type Corner = [u32; 2];

pub(super) fn direction(from: Corner, to: Corner) -> [i64; 2] {
    [i64::from(to[0]) - i64::from(from[0]), i64::from(to[1]) - i64::from(from[1])]
}
