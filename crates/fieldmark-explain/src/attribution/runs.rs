//! A map at a picture's pixels becomes runs of strong pixels, sums and the largest value, without a look at most of
//! the pixels.
//!
//! Rows of pixels between the same two rows of cells make a *band*, and a band and a segment of columns meet in a
//! *quad*: all its pixels lie between the same four cells. No value there is larger than the largest of the four, so
//! most quads are done with at one comparison. In the others a row is a straight line, whose extremes are at its ends
//! and whose crossing of a level is computed, not searched. Every pixel is decided by the value that
//! [`Resampled::row`] gives it, bit by bit.

use std::ops::Range;

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::resample::{Line, Resampled, Segment};

/// Bands that a thread takes at once. A grid of patches has fewer; one as fine as the photo has one a row.
const BANDS: usize = 64;

/// How far rounding may lift a pixel above all four cells around it, as a part of the map's largest value: each pixel
/// is the result of six roundings.
const ROUNDING: f32 = 16.0 * f32::EPSILON;

/// How far the crossing of a level may be off by rounding, as a part of the way between two cells that differ as much
/// as they are high; ten roundings lie between them and the pixel.
const CROSSING_ROUNDING: f32 = 16.0 * f32::EPSILON;

/// Rows that are looked at side by side: a vector register's worth of the widest.
const LANES: usize = 16;

/// A run of pixels of one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// The row.
    pub(crate) y: u32,
    /// The columns of the pixels.
    pub(crate) pixels: Range<u32>,
    /// The largest of the map's values over the pixels.
    pub(crate) max: f32,
    /// The sum of the values.
    pub(crate) sum: f64,
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
    /// Every run whose values are at least `level` and above zero, in the order of reading.
    pub(crate) fn runs(&self, level: f32) -> Vec<Run> {
        let (level, slack) = (above_zero(level), self.slack());
        let runs_of = |bands| Arch::new().dispatch(RunsOf { map: self, bands, level, slack });
        let bands = &self.samples().rows.segments;
        if bands.len() <= BANDS {
            return runs_of(bands);
        }
        bands.par_chunks(BANDS).map(runs_of).collect::<Vec<_>>().concat()
    }

    /// The runs of row `y` whose values are at least `level` and above zero, from left to right.
    pub(crate) fn runs_at_least(&self, y: u32, level: f32) -> Vec<Run> {
        let mut runs = Vec::new();
        if let Some((cells, share)) = self.samples().rows.at(y as usize) {
            let level = above_zero(level);
            let each = self.quads(cells).filter_map(|quad| quad.rows().row(share).run(y, level));
            each.for_each(|run| add(&mut runs, run));
        }
        runs
    }

    /// Adds the parts of a run whose values are at least `level`, which is no lower than the run's own.
    pub(crate) fn add_parts(&self, parts: &mut Vec<Run>, run: &Run, level: f32) {
        let Some((cells, share)) = self.samples().rows.at(run.y as usize) else { return };
        let [start, end] = [run.pixels.start as usize, run.pixels.end as usize];
        let before = self.samples().columns.segments.partition_point(|segment| segment.pixels.end <= start);
        let quads = self.quads(cells).skip(before).take_while(|quad| quad.segment.pixels.start < end);
        let each = quads.filter_map(|quad| quad.rows().row(share).run(run.y, level));
        each.for_each(|part| add(parts, part));
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
        let sums: Vec<Sums> = chunks.map(|bands| Arch::new().dispatch(SumsOf(self, bands))).collect();
        // Added in a fixed order, independent of threads, so that sums are the same in every run.
        sums.iter().fold(Sums::default(), |all, part| Sums {
            positive: all.positive + part.positive,
            negative: all.negative + part.negative,
        })
    }

    #[inline(always)]
    fn runs_of(&self, bands: &[Segment], level: f32, slack: f32) -> Vec<Run> {
        let (mut runs, mut reaching, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for band in bands {
            reaching.clear();
            for quad in self.quads(band.cells) {
                let highest = quad.highest();
                if highest + slack >= level && highest > 0.0 {
                    reaching.push(quad.rows());
                }
            }
            if reaching.is_empty() {
                continue;
            }
            parts.resize(reaching.len(), Parts::NONE);
            let mut y = band.pixels.start as u32;
            for shares in self.samples().rows.shares[band.pixels.clone()].chunks(LANES) {
                let lanes = lanes(shares);
                for (rows, parts) in reaching.iter().zip(&mut parts) {
                    rows.parts(&lanes, level, parts);
                }
                for lane in 0..shares.len() {
                    for part in &parts {
                        if part.start[lane] < part.end[lane] {
                            add(&mut runs, part.run(y, lane));
                        }
                    }
                    y += 1;
                }
            }
        }
        runs
    }

    fn highest_of(&self, bands: &[Segment], slack: f32) -> f32 {
        let mut highest = 0.0_f32;
        for band in bands {
            for quad in self.quads(band.cells) {
                if quad.highest() + slack <= highest {
                    continue;
                }
                let shares = &self.samples().rows.shares[band.pixels.clone()];
                let rows = quad.rows();
                for share in shares {
                    let [first, last] = rows.row(*share).ends();
                    highest = larger(highest, larger(first, last));
                }
            }
        }
        highest
    }

    #[inline(always)]
    fn sums_of(&self, bands: &[Segment]) -> Sums {
        let (rows, columns) = (&self.samples().rows, &self.samples().columns);
        let mut sums = Sums::default();
        for band in bands {
            let (shares, band_sum) = (&rows.shares[band.pixels.clone()], rows.share_sum(&band.pixels));
            for quad in self.quads(band.cells) {
                let pixels = &quad.segment.pixels;
                let all = quad.sum(
                    [band.pixels.len() as f64, band_sum],
                    [pixels.len() as f64, columns.share_sum(pixels)],
                );
                let positive = match (quad.lowest() >= 0.0, quad.highest() <= 0.0) {
                    (true, _) => all,
                    (_, true) => 0.0,
                    _ => quad.positive(shares),
                };
                sums.positive += positive;
                sums.negative += all - positive;
            }
        }
        sums
    }

    fn slack(&self) -> f32 {
        ROUNDING * self.map.max_abs() + f32::MIN_POSITIVE
    }

    /// What lies between two rows of cells, from left to right.
    fn quads(&self, cells: [usize; 2]) -> impl Iterator<Item = Quad<'_>> {
        let columns = &self.samples().columns;
        let width = self.map.grid().columns;
        let [top, bottom] = cells.map(|row| &self.map.values()[row * width..][..width]);
        columns.segments.iter().map(move |segment| {
            let [left, right] = segment.cells;
            Quad { top: [top[left], top[right]], bottom: [bottom[left], bottom[right]], segment, columns }
        })
    }
}

/// The least that is at least `level` and above zero: what reaches it is both.
fn above_zero(level: f32) -> f32 {
    level.max(0.0_f32.next_up())
}

struct SumsOf<'s>(&'s Resampled<'s>, &'s [Segment]);

impl NullaryFnOnce for SumsOf<'_> {
    type Output = Sums;

    #[inline(always)]
    fn call(self) -> Sums {
        self.0.sums_of(self.1)
    }
}

struct RunsOf<'s> {
    map: &'s Resampled<'s>,
    bands: &'s [Segment],
    level: f32,
    slack: f32,
}

impl NullaryFnOnce for RunsOf<'_> {
    type Output = Vec<Run>;

    #[inline(always)]
    fn call(self) -> Vec<Run> {
        self.map.runs_of(self.bands, self.level, self.slack)
    }
}

/// Shares of rows that are looked at side by side; the last one stands in for those behind it.
#[inline(always)]
fn lanes(shares: &[f32]) -> [f32; LANES] {
    std::array::from_fn(|lane| shares[lane.min(shares.len() - 1)])
}

/// The values of four neighbouring cells, from left to right, and the columns of pixels between them.
struct Quad<'s> {
    top: [f32; 2],
    bottom: [f32; 2],
    segment: &'s Segment,
    columns: &'s Line,
}

impl<'s> Quad<'s> {
    #[inline(always)]
    fn highest(&self) -> f32 {
        self.top[0].max(self.top[1]).max(self.bottom[0].max(self.bottom[1]))
    }

    #[inline(always)]
    fn lowest(&self) -> f32 {
        self.top[0].min(self.top[1]).min(self.bottom[0].min(self.bottom[1]))
    }

    /// Its rows.
    #[inline(always)]
    fn rows(&self) -> Rows<'s> {
        let Range { start, end } = self.segment.pixels;
        Rows {
            start: start as u32,
            top: self.top,
            rises: [0, 1].map(|side| self.bottom[side] - self.top[side]),
            ends: [self.columns.shares[start], self.columns.shares[end - 1]],
            shares: &self.columns.shares[start..end],
            series: self.columns.series(&self.segment.pixels),
        }
    }

    /// The sum over some rows and columns: of each, how many there are and the sum of their shares.
    #[inline(always)]
    fn sum(&self, rows: [f64; 2], columns: [f64; 2]) -> f64 {
        let across = |[left, right]: [f32; 2]| {
            (columns[0] - columns[1]) * f64::from(left) + columns[1] * f64::from(right)
        };
        (rows[0] - rows[1]) * across(self.top) + rows[1] * across(self.bottom)
    }

    /// The sum of the values above zero over rows with these shares.
    ///
    /// Each row falls evenly from its higher end to its lower one, so what is above zero is a series. Where it ends need
    /// not be known to the pixel: a value that rounding takes for its neighbour across zero is next to nothing.
    #[inline(always)]
    fn positive(&self, shares: &[f32]) -> f64 {
        let count = self.segment.pixels.len() as f64;
        let [first_share, step_share] = self.columns.series(&self.segment.pixels);
        let top = self.top.map(f64::from);
        let falls = [f64::from(self.bottom[0]) - top[0], f64::from(self.bottom[1]) - top[1]];
        let mut sums = [0.0; LANES];
        for shares in shares.chunks(LANES) {
            let row_shares = lanes(shares);
            for lane in 0..LANES {
                let share = f64::from(row_shares[lane]);
                let from = top[0] + falls[0] * share;
                let rise = top[1] + falls[1] * share - from;
                let (first, step) = (from + rise * first_share, rise * step_share);
                let high = if step > 0.0 { first + step * (count - 1.0) } else { first };
                let step = step.abs();
                let above = (high / step).ceil().max(0.0).min(count);
                let sum = above * (high - 0.5 * step * (above - 1.0));
                sums[lane] += if lane < shares.len() { sum } else { 0.0 };
            }
        }
        sums.iter().sum()
    }
}

/// The rows of a quad, with all that any of them asks for.
struct Rows<'s> {
    /// The first pixel.
    start: u32,
    /// The values at the upper cells, and how much higher those at the lower ones are.
    top: [f32; 2],
    rises: [f32; 2],
    /// The first and the last pixel's share of the cells on the right.
    ends: [f32; 2],
    /// Every pixel's.
    shares: &'s [f32],
    /// The first one, and how much more each next one is.
    series: [f64; 2],
}

impl<'s> Rows<'s> {
    /// The row with this share of the lower cells.
    #[inline(always)]
    fn row(&self, share: f32) -> Row<'_, 's> {
        let [from, to] = [0, 1].map(|side| self.top[side] + self.rises[side] * share);
        Row { from, rise: to - from, rows: self }
    }

    /// The parts of rows with these shares that are at least `level`: what [`Row::run`] finds, of many rows at once.
    ///
    /// Only where rounding may decide on which side of the level a pixel lies is it asked.
    #[inline(always)]
    fn parts(&self, row_shares: &[f32; LANES], level: f32, parts: &mut Parts) {
        let width = self.shares.len();
        let far = (width - 1) as f32;
        let (mut from, mut rise, mut max) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        let (mut start, mut end, mut unsure) = ([0; LANES], [0; LANES], [false; LANES]);
        for lane in 0..LANES {
            let row = self.row(row_shares[lane]);
            let [first, last] = row.ends();
            let pixels = far / (last - first);
            let crossing = within((level - first) * pixels, far);
            let whole = crossing.floor();
            let high = row.from.abs() + row.rise.abs() + f32::MIN_POSITIVE;
            let off = (high * pixels.abs() + far) * CROSSING_ROUNDING;
            let is_in = [first >= level, last >= level];
            let behind = crossing - whole;
            unsure[lane] = (is_in[0] != is_in[1]) & !((behind > off) & (behind < 1.0 - off));
            let change = integer(whole) + 1;
            start[lane] = if is_in[0] { 0 } else { change };
            end[lane] = match is_in {
                [_, true] => width as i32,
                [true, false] => change,
                [false, false] => 0,
            };
            max[lane] = larger(first, last);
            (from[lane], rise[lane]) = (row.from, row.rise);
        }
        let (mut sum, series) = ([0.0; LANES], self.series);
        for lane in 0..LANES {
            sum[lane] = series_sum([from[lane], rise[lane]], series, start[lane], end[lane]);
        }
        let place = |pixels: [i32; LANES]| pixels.map(|pixel| self.start + pixel as u32);
        *parts = Parts { start: place(start), end: place(end), max, sum };
        if unsure.contains(&true) {
            for lane in (0..LANES).filter(|lane| unsure[*lane]) {
                parts.set(lane, self.row(row_shares[lane]).run(0, level));
            }
        }
    }
}

/// For each of some rows the part of it that reaches a level.
#[derive(Clone)]
struct Parts {
    start: [u32; LANES],
    /// Not above the start where nothing reaches it.
    end: [u32; LANES],
    max: [f32; LANES],
    sum: [f64; LANES],
}

impl Parts {
    const NONE: Self = Self { start: [0; LANES], end: [0; LANES], max: [0.0; LANES], sum: [0.0; LANES] };

    #[inline(always)]
    fn run(&self, y: u32, lane: usize) -> Run {
        let pixels = self.start[lane]..self.end[lane];
        Run { y, pixels, max: self.max[lane], sum: self.sum[lane] }
    }

    fn set(&mut self, lane: usize, run: Option<Run>) {
        let Some(Run { pixels, max, sum, .. }) = run else {
            self.end[lane] = 0;
            return;
        };
        (self.start[lane], self.end[lane]) = (pixels.start, pixels.end);
        (self.max[lane], self.sum[lane]) = (max, sum);
    }
}

/// A row of pixels between two neighbouring cells: a straight line.
struct Row<'r, 's> {
    /// The value at the first cell, and how much higher the second is: see [`Segment::ends`].
    from: f32,
    rise: f32,
    rows: &'r Rows<'s>,
}

impl Row<'_, '_> {
    #[inline(always)]
    fn value(&self, share: f32) -> f32 {
        self.from + self.rise * share
    }

    /// The first and the last value.
    #[inline(always)]
    fn ends(&self) -> [f32; 2] {
        self.rows.ends.map(|share| self.value(share))
    }

    /// The part that is at least `level`.
    #[inline(always)]
    fn run(&self, y: u32, level: f32) -> Option<Run> {
        let Rows { start, shares, series, .. } = *self.rows;
        let [first, last] = self.ends();
        let near = (level - first) / (last - first);
        let (from, to) = match (first >= level, last >= level) {
            (true, true) => (0, shares.len()),
            (false, false) => return None,
            (true, false) => (0, change(shares, near, |share| self.value(share) >= level)),
            (false, true) => (change(shares, near, |share| self.value(share) < level), shares.len()),
        };
        // A line is highest at one of its ends, and rounding does not change that.
        let max = larger(first, last);
        let sum = series_sum([self.from, self.rise], series, from as i32, to as i32);
        Some(Run { y, pixels: start + from as u32..start + to as u32, max, sum })
    }
}

/// The sum over some pixels of a straight line; `series`: the first pixel's share, and how much more each next one has.
#[inline(always)]
fn series_sum([from, rise]: [f32; 2], [first, step]: [f64; 2], start: i32, end: i32) -> f64 {
    let middle = first + 0.5 * step * f64::from(start + end - 1);
    f64::from(end - start) * (f64::from(from) + f64::from(rise) * middle)
}

/// A number between 0 and another; not a number counts as 0.
#[inline(always)]
fn within(number: f32, most: f32) -> f32 {
    let number = if number > 0.0 { number } else { 0.0 };
    if number < most { number } else { most }
}

/// A whole number from 0 to 2^22, in two instructions.
#[inline(always)]
fn integer(whole: f32) -> i32 {
    const SHIFT: f32 = 8_388_608.0;
    ((whole + SHIFT).to_bits() - SHIFT.to_bits()) as i32
}

/// Of two numbers; unlike [`f32::max`] one instruction.
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

/// Adds a run, behind those that are read before it; two that touch become one.
#[inline(always)]
fn add(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.y == run.y && last.pixels.end == run.pixels.start => last.append(&run),
        _ => runs.push(run),
    }
}

/// How many of some evenly spaced shares hold what the first one holds and the last one does not. They end about `near`
/// of the way from the first to the last, up to rounding.
#[inline(always)]
fn change(shares: &[f32], near: f32, holds: impl Fn(f32) -> bool) -> usize {
    let last = shares.len() - 1;
    let near = ((near * last as f32) as i32 as usize + 1).min(last);
    if holds(shares[near - 1]) && !holds(shares[near]) {
        near
    } else {
        shares.partition_point(|share| holds(*share))
    }
}

impl Run {
    fn append(&mut self, next: &Run) {
        self.pixels.end = next.pixels.end;
        self.sum += next.sum;
        self.max = larger(self.max, next.max);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::attribution::ConceptMap;
    use fieldmark_model::geometry::{Grid, Placement, Rect, Size};

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
        assert_eq!(runs, [Run { y: 0, pixels: 3..8, max: 4.0, sum: 15.5 }]);
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
                expected.push((y as u32, run[0] as u32..run[run.len() - 1] as u32 + 1));
            }
        }
        let runs = resampled.runs(level);
        let found: Vec<_> = runs.iter().map(|run| (run.y, run.pixels.clone())).collect();
        assert_eq!(found, expected, "at level {level}");
        for run in &runs {
            let y = run.y;
            let row = &pixels[y as usize * width..][run.pixels.start as usize..run.pixels.end as usize];
            let sum: f64 = row.iter().map(|value| f64::from(*value)).sum();
            let rounding = 1e-6 * f64::from(resampled.map().max_abs()) * row.len() as f64;
            assert!((run.sum - sum).abs() <= rounding, "row {y} at level {level}: {} {sum}", run.sum);
            assert_eq!(run.max, row.iter().copied().fold(f32::MIN, f32::max));
            assert!(resampled.runs_at_least(y, level).contains(run));
        }
    }
}
