//! The pixel under each new pixel's centre.

use super::weights::Span;
use super::{CHANNELS, Pixels};

/// Picks the pixels that `x` and `y` describe.
pub(super) fn pick(source: Pixels<'_>, x: Span, y: Span) -> Vec<u8> {
    let columns = places(x);
    let pixels =
        |row: usize| columns.iter().flat_map(move |x| &source.row(row)[CHANNELS * x..CHANNELS * (x + 1)]);
    places(y).into_iter().flat_map(pixels).copied().collect()
}

/// The source pixels under the wanted ones.
///
/// Pillow adds one step after the other, so its rounding errors decide where a centre is between two pixels.
fn places(span: Span) -> Vec<usize> {
    let step = span.scale();
    let centres = std::iter::successors(Some(step * 0.5), |centre| Some(centre + step));
    let wanted = centres.skip(span.start as usize).take(span.length as usize);
    wanted.map(|centre| (centre as usize).min(span.source as usize - 1)).collect()
}
