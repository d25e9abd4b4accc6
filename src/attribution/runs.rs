//! A map at a picture's pixels becomes runs of strong pixels, sums and the largest value, without a look at most of
//! the pixels.
//!
//! Rows of pixels between the same two rows of cells make a *band*, and a band and a segment of columns meet in a
//! *quad*: all its pixels lie between the same four cells. No value there is larger than the largest of the four, so
//! most quads are done with at one comparison. In the others a row is a straight line, whose extremes are at its ends
//! and whose crossing of a level is computed, not searched. Every pixel is decided by the value that
//! [`Resampled::row`] gives it, bit by bit.

use std::ops::Range;

use rayon::prelude::*;

use super::resample::{Line, Resampled, Segment};

/// Bands that a thread takes at once. A grid of patches has fewer; one as fine as the photo has one a row.
const BANDS: usize = 64;

/// How far rounding may lift a pixel above all four cells around it, as a part of the map's largest value: each pixel
/// is the result of six roundings.
const ROUNDING: f32 = 16.0 * f32::EPSILON;

/// A run of pixels of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// The columns of the pixels.
    pub(crate) pixels: Range<usize>,
    /// The sum of the map's values over the pixels.
    pub(crate) sum: f64,
    /// The largest of the values.
    pub(crate) max: f32,
}

/// The sums of a map over all pixels that it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    /// Of the values above zero.
    pub(crate) positive: f64,
    /// Of the others.
    pub(crate) negative: f64,
}

impl Resampled<'_> {
    /// Every run whose values are at least `level` and above zero, with its row, in the order of reading.
    pub(crate) fn runs(&self, level: f32) -> Vec<(usize, Run)> {
        let slack = self.slack();
        let chunks = self.samples().rows.segments.par_chunks(BANDS);
        chunks.flat_map_iter(|bands| self.runs_of(bands, level, slack)).collect()
    }

    /// The runs of row `y` whose values are at least `level` and above zero, from left to right.
    pub(crate) fn runs_at_least(&self, y: u32, level: f32) -> Vec<Run> {
        let (mut line, mut runs) = (Vec::new(), Vec::new());
        if self.line(y as usize, &mut line) {
            let columns = &self.samples().columns;
            columns.add_runs(&mut runs, (0, &line), level, &columns.segments);
        }
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// The largest value of all pixels, or 0 where none is above it.
    pub(crate) fn highest(&self) -> f32 {
        let slack = self.slack();
        let chunks = self.samples().rows.segments.par_chunks(BANDS);
        chunks.map(|bands| self.highest_of(bands, slack)).reduce(|| 0.0, f32::max)
    }

    /// The sums over all pixels.
    pub(crate) fn sums(&self) -> Sums {
        let chunks = self.samples().rows.segments.par_chunks(BANDS);
        let sums: Vec<Sums> = chunks.map(|bands| self.sums_of(bands)).collect();
        // Added in their order, whatever the threads do: the sums are the same in every run.
        sums.iter().fold(Sums::default(), |all, part| Sums {
            positive: all.positive + part.positive,
            negative: all.negative + part.negative,
        })
    }

    fn runs_of(&self, bands: &[Segment], level: f32, slack: f32) -> Vec<(usize, Run)> {
        let columns = &self.samples().columns;
        let (mut runs, mut line, mut reaching) = (Vec::new(), Vec::new(), Vec::new());
        for band in bands {
            let reaches = |segment: &&Segment| {
                let highest = self.quad(band, segment).highest() + slack;
                highest >= level && highest > 0.0
            };
            reaching.clear();
            reaching.extend(columns.segments.iter().filter(reaches).cloned());
            if reaching.is_empty() {
                continue;
            }
            for y in band.pixels.clone() {
                if self.line(y, &mut line) {
                    columns.add_runs(&mut runs, (y, &line), level, &reaching);
                }
            }
        }
        runs
    }

    fn highest_of(&self, bands: &[Segment], slack: f32) -> f32 {
        let Line { segments, shares, .. } = &self.samples().columns;
        let mut highest = 0.0_f32;
        for (band, segment) in pairs(bands, segments) {
            let quad = self.quad(band, segment);
            if quad.highest() + slack <= highest {
                continue;
            }
            let ends = [shares[segment.pixels.start], shares[segment.pixels.end - 1]];
            for share in &self.samples().rows.shares[band.pixels.clone()] {
                let (from, rise) = quad.ends(*share);
                highest = ends.iter().fold(highest, |highest, end| highest.max(from + rise * end));
            }
        }
        highest
    }

    fn sums_of(&self, bands: &[Segment]) -> Sums {
        let (rows, columns) = (&self.samples().rows, &self.samples().columns);
        let mut sums = Sums::default();
        for (band, segment) in pairs(bands, &columns.segments) {
            let quad = self.quad(band, segment);
            let all = quad.sum(
                [band.pixels.len() as f64, rows.share_sum(&band.pixels)],
                [segment.pixels.len() as f64, columns.share_sum(&segment.pixels)],
            );
            let positive = match (quad.lowest() >= 0.0, quad.highest() <= 0.0) {
                (true, _) => all,
                (_, true) => 0.0,
                _ => {
                    let shares = rows.shares[band.pixels.clone()].iter();
                    let runs = shares.filter_map(|share| columns.run_in(segment, quad.ends(*share), 0.0));
                    runs.map(|run| run.sum).sum()
                }
            };
            sums.positive += positive;
            sums.negative += all - positive;
        }
        sums
    }

    fn slack(&self) -> f32 {
        ROUNDING * self.map.max_abs() + f32::MIN_POSITIVE
    }

    fn quad(&self, band: &Segment, segment: &Segment) -> Quad {
        let columns = self.map.grid().columns;
        let cell = |row: usize, column: usize| self.map.values()[row * columns + column];
        let row = |row: usize| [cell(row, segment.first), cell(row, segment.second)];
        Quad { top: row(band.first), bottom: row(band.second) }
    }
}

/// The values of four neighbouring cells, from left to right.
struct Quad {
    top: [f32; 2],
    bottom: [f32; 2],
}

impl Quad {
    fn highest(&self) -> f32 {
        self.top[0].max(self.top[1]).max(self.bottom[0].max(self.bottom[1]))
    }

    fn lowest(&self) -> f32 {
        self.top[0].min(self.top[1]).min(self.bottom[0].min(self.bottom[1]))
    }

    /// As [`Segment::ends`] has it, of a row with this share of the lower cells.
    fn ends(&self, share: f32) -> (f32, f32) {
        let [from, to] = [0, 1].map(|side| self.top[side] + (self.bottom[side] - self.top[side]) * share);
        (from, to - from)
    }

    /// The sum over some rows and columns: of each, how many there are and the sum of their shares.
    fn sum(&self, rows: [f64; 2], columns: [f64; 2]) -> f64 {
        let across = |[left, right]: [f32; 2]| {
            (columns[0] - columns[1]) * f64::from(left) + columns[1] * f64::from(right)
        };
        (rows[0] - rows[1]) * across(self.top) + rows[1] * across(self.bottom)
    }
}

fn pairs<'s>(
    bands: &'s [Segment],
    segments: &'s [Segment],
) -> impl Iterator<Item = (&'s Segment, &'s Segment)> {
    bands.iter().flat_map(move |band| segments.iter().map(move |segment| (band, segment)))
}

impl Line {
    /// Adds the runs of a row in some of its segments, from left to right; those that touch become one.
    fn add_runs(
        &self,
        runs: &mut Vec<(usize, Run)>,
        (y, line): (usize, &[f32]),
        level: f32,
        segments: &[Segment],
    ) {
        for segment in segments {
            let Some(run) = self.run_in(segment, segment.ends(line), level) else { continue };
            match runs.last_mut() {
                Some((row, last)) if *row == y && last.pixels.end == run.pixels.start => last.append(&run),
                _ => runs.push((y, run)),
            }
        }
    }

    /// The part of a segment that is at least `level` and above zero, of a row with these ends.
    fn run_in(&self, segment: &Segment, (from, rise): (f32, f32), level: f32) -> Option<Run> {
        let Range { start, end } = segment.pixels;
        let shares = &self.shares[start..end];
        let value = |share: f32| from + rise * share;
        let is_in = |share: &f32| value(*share) >= level && value(*share) > 0.0;
        let place = (level - from) / rise;
        let pixels = match (is_in(shares.first()?), is_in(shares.last()?)) {
            (true, true) => start..end,
            (false, false) => return None,
            (true, false) => start..start + change(shares, place, is_in),
            (false, true) => start + change(shares, place, |share| !is_in(share))..end,
        };
        let max = value(self.shares[pixels.start]).max(value(self.shares[pixels.end - 1]));
        let sum = f64::from(from) * pixels.len() as f64 + f64::from(rise) * self.share_sum(&pixels);
        Some(Run { pixels, sum, max })
    }
}

/// The first of some evenly spaced shares that does not hold what the first one holds and the last one does not. It is
/// looked for near the place of a share, where it is up to rounding.
fn change(shares: &[f32], near: f32, holds: impl Fn(&f32) -> bool) -> usize {
    let last = shares.len() - 1;
    let step = (shares[last] - shares[0]) / last as f32;
    let mut at = (((near - shares[0]) / step) as usize).clamp(1, last);
    while holds(&shares[at]) {
        at += 1;
    }
    while !holds(&shares[at - 1]) {
        at -= 1;
    }
    at
}

impl Run {
    fn append(&mut self, next: &Run) {
        self.pixels.end = next.pixels.end;
        self.sum += next.sum;
        self.max = self.max.max(next.max);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::attribution::ConceptMap;
    use crate::geometry::{Grid, Placement, Rect, Size};

    fn map(values: &[f32], grid: Grid, photo: Size, covers: Rect) -> ConceptMap {
        ConceptMap::new(values.to_vec(), Placement { photo, input: photo, grid, covers })
    }

    /// A map of any size on a photo of any size, which it may cover in part; with flat places, ties and cells of very
    /// different height.
    pub(crate) fn any_map(random: &mut ChaCha8Rng) -> ConceptMap {
        let photo = Size::new(random.random_range(1..120), random.random_range(1..120));
        let grid = Grid::new(random.random_range(1..9), random.random_range(1..9));
        let covers = match random.random_range(0..3) {
            0 => Rect {
                x0: f64::from(photo.width) * 0.2,
                y1: f64::from(photo.height) * 0.7,
                ..Rect::whole(photo)
            },
            _ => Rect::whole(photo),
        };
        let grid = if random.random_range(0..8) == 0 {
            Grid::new(photo.height as usize, photo.width as usize)
        } else {
            grid
        };
        let kind = random.random_range(0..4);
        let value = |random: &mut ChaCha8Rng| match kind {
            0 => random.random_range(-1.0..1.0),
            1 => f32::from(random.random_range(-2_i8..3)),
            2 => random.random_range(-1.0_f32..1.0) * 10_f32.powi(random.random_range(-20..20)),
            _ => random.random_range(-1.0_f32..0.2),
        };
        map(&(0..grid.cells()).map(|_| value(random)).collect::<Vec<_>>(), grid, photo, covers)
    }

    #[test]
    fn a_run_knows_its_pixels_sum_and_largest_value() {
        let photo = Size::new(8, 1);
        let map = map(&[0.0, 4.0], Grid::new(1, 2), photo, Rect::whole(photo));
        let runs = Resampled::new(&map, photo).runs_at_least(0, 1.0);
        // Pixels 3 to 7 hold 1.5, 2.5, 3.5, 4 and 4.
        assert_eq!(runs, [Run { pixels: 3..8, sum: 15.5, max: 4.0 }]);
    }

    #[test]
    fn runs_sums_and_the_highest_value_are_those_of_the_pixels_one_by_one() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        for case in 0..400 {
            let map = any_map(&mut random);
            let photo = map.placement().photo;
            let resampled = Resampled::new(&map, photo);
            let pixels = map.at_photo_size();
            let highest = pixels.iter().copied().fold(0.0, f32::max);
            assert_eq!(resampled.highest(), highest, "case {case}");
            let sum = |counts: fn(&f32) -> bool| -> f64 {
                pixels.iter().filter(|value| counts(value)).map(|value| f64::from(*value)).sum()
            };
            let expected = [sum(|value| *value > 0.0), sum(|value| *value < 0.0)];
            let Sums { positive, negative } = resampled.sums();
            let close = |one: f64, other: f64| (one - other).abs() <= 1e-5 * (expected[0] - expected[1]);
            assert!(close(positive, expected[0]) && close(negative, expected[1]), "case {case}");
            for part in [0.0, 0.1, 0.5, 0.99, 1.0] {
                check_runs(&resampled, &pixels, part * highest);
            }
        }
    }

    fn check_runs(resampled: &Resampled, pixels: &[f32], level: f32) {
        let width = resampled.map().placement().photo.width as usize;
        let is_in = |value: &f32| *value >= level && *value > 0.0;
        let mut expected = Vec::new();
        for (y, row) in pixels.chunks_exact(width).enumerate() {
            let columns: Vec<usize> = (0..width).filter(|x| is_in(&row[*x])).collect();
            for run in columns.chunk_by(|one, other| one + 1 == *other) {
                expected.push((y, run[0]..run[run.len() - 1] + 1));
            }
        }
        let runs = resampled.runs(level);
        let found: Vec<_> = runs.iter().map(|(y, run)| (*y, run.pixels.clone())).collect();
        assert_eq!(found, expected, "at level {level}");
        for (y, run) in &runs {
            let row = &pixels[y * width..][..width];
            let sum: f64 = row[run.pixels.clone()].iter().map(|value| f64::from(*value)).sum();
            let rounding = 1e-6 * f64::from(resampled.map().max_abs()) * run.pixels.len() as f64;
            assert!((run.sum - sum).abs() <= rounding, "row {y} at level {level}: {} {sum}", run.sum);
            assert_eq!(run.max, row[run.pixels.clone()].iter().copied().fold(f32::MIN, f32::max));
            assert!(resampled.runs_at_least(*y as u32, level).contains(run));
        }
    }
}
