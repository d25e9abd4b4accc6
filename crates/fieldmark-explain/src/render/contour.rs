//! A level of evidence becomes a thin line on the photo, so that a region has an edge for all colours
//! of its subject are.

use image::Rgb;
use rayon::prelude::*;

use super::canvas::{Canvas, Ground};
use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;

/// A picture whose short side is less gets no line: it would be mostly line.
pub(super) const SMALLEST_PICTURE: u32 = 48;

/// Draws the line along which the evidence is `level` (above 0): white with a dark rim, so that it is seen
/// on any ground, smooth at its edges, and nowhere on pixels without evidence.
pub(super) fn draw_contour<P: Ground>(
    picture: &mut Canvas<P>,
    map: &ConceptMap,
    resampled: &Resampled,
    level: f32,
) {
    let (width, height) = picture.dimensions();
    if width.min(height) < SMALLEST_PICTURE {
        return;
    }
    let half_line = (width.max(height) as f32 / 1200.0).max(0.65);
    let reach = 2.0 * half_line + 0.5;
    let near = reach * steepest(map, resampled);
    let channels = usize::from(P::CHANNEL_COUNT);
    picture.par_chunks_exact_mut(width as usize * channels).enumerate().for_each_init(
        || [(); 3].map(|()| vec![0.0; width as usize]),
        |[above, row, below], (y, pixels)| {
            let y = y as u32;
            resampled.row(y, row);
            if row.iter().all(|value| value.is_nan() || (value - level).abs() > near) {
                return;
            }
            resampled.row(y.saturating_sub(1), above);
            resampled.row((y + 1).min(height - 1), below);
            for (x, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
                let gap = (row[x] - level).abs();
                if row[x] > 0.0 && gap <= near {
                    let slope = slope([above, row, below], x);
                    if gap <= reach * slope {
                        draw_pixel(P::from_slice_mut(pixel), gap / slope.max(f32::MIN_POSITIVE), half_line);
                    }
                }
            }
        },
    );
}

/// No pixel's evidence differs by more from its neighbour's.
fn steepest(map: &ConceptMap, resampled: &Resampled) -> f32 {
    let lowest = map.values().iter().copied().fold(f32::INFINITY, f32::min);
    let across = resampled.covered_columns().len() as f32 / map.grid().columns as f32;
    let down = resampled.covered_rows().len() as f32 / map.grid().rows as f32;
    // Both directions together are at most the square root of two steeper than one.
    std::f32::consts::SQRT_2 * (map.max() - lowest) / across.min(down)
}

/// How much the evidence changes a pixel, uphill, from the pixels around.
fn slope([above, row, below]: [&[f32]; 3], x: usize) -> f32 {
    let here = row[x];
    let known = |value: Option<&f32>| value.copied().filter(|value| !value.is_nan()).unwrap_or(here);
    let across = known(row.get(x + 1)) - known(x.checked_sub(1).and_then(|left| row.get(left)));
    let down = known(below.get(x)) - known(above.get(x));
    (across * across + down * down).sqrt() / 2.0
}

/// Mixes the line into a pixel at some distance (in pixels) from its middle.
fn draw_pixel(pixel: &mut impl Ground, distance: f32, half_line: f32) {
    const RIM: Rgb<u8> = Rgb([0; 3]);
    const CORE: Rgb<u8> = Rgb([255; 3]);
    let coverage = |half: f32| (half + 0.5 - distance).clamp(0.0, 1.0);
    pixel.mix(RIM, 0.45 * coverage(2.0 * half_line));
    pixel.mix(CORE, 0.9 * coverage(half_line));
}
