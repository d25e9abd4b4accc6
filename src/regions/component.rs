//! Runs of pixels that touch each other become one component, and that an instance.

use super::{Instance, Mask, Peak, Region};
use crate::attribution::{resample::Resampled, runs::Run};

/// An outline may be off by this part of the region's size (the root of its area), and by a pixel in a thousand.
const OUTLINE_PART: f64 = 0.05;

/// Of the pixels of some runs (at least one), the one nearest to their centre of mass.
pub(super) fn nearest_to_centre(runs: &[(usize, Run)]) -> Peak {
    let (mut count, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
    for (y, run) in runs {
        let pixels = run.pixels.len() as f64;
        count += pixels;
        sum_x += pixels * (run.pixels.start + run.pixels.end - 1) as f64 / 2.0;
        sum_y += pixels * *y as f64;
    }
    let (centre_x, centre_y) = (sum_x / count, sum_y / count);
    let mut best = (f64::INFINITY, Peak { x: 0, y: 0 });
    for (y, run) in runs {
        let x = centre_x.clamp(run.pixels.start as f64, (run.pixels.end - 1) as f64).round();
        let distance = (x - centre_x).powi(2) + (*y as f64 - centre_y).powi(2);
        if distance < best.0 {
            best = (distance, Peak { x: x as u32, y: *y as u32 });
        }
    }
    best.1
}

/// Runs that touch each other.
pub(super) struct Component {
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    pub(super) area: usize,
    pub(super) sum: f64,
    pub(super) max: f32,
    /// Which of all runs they are, in the order of reading.
    runs: Vec<usize>,
}

impl Component {
    fn of(index: usize, y: usize, run: &Run) -> Self {
        Self {
            left: run.pixels.start,
            right: run.pixels.end,
            top: y,
            bottom: y + 1,
            area: run.pixels.len(),
            sum: run.sum,
            max: run.max,
            runs: vec![index],
        }
    }

    fn join(&mut self, index: usize, y: usize, run: &Run) {
        self.left = self.left.min(run.pixels.start);
        self.right = self.right.max(run.pixels.end);
        self.bottom = self.bottom.max(y + 1);
        self.area += run.pixels.len();
        self.sum += run.sum;
        self.max = self.max.max(run.max);
        self.runs.push(index);
    }

    /// What it is called outside; `positive`: the sum of all positive evidence.
    pub(super) fn instance(&self, resampled: &Resampled, runs: &[(usize, Run)], positive: f64) -> Instance {
        let photo = resampled.map().placement().photo;
        let own = self.runs.iter().map(|index| &runs[*index]);
        let pixels = own.map(|(y, run)| (*y as u32, run.pixels.start as u32..run.pixels.end as u32));
        let mask = Mask::new(photo, pixels.collect());
        let finest = (f64::from(photo.width.max(photo.height)) / 1000.0).max(1.0);
        let tolerance = finest.min(OUTLINE_PART * (self.area as f64).sqrt());
        let region = Region {
            x: self.left as u32,
            y: self.top as u32,
            width: (self.right - self.left) as u32,
            height: (self.bottom - self.top) as u32,
            // The two sums are rounded differently, so the quotient may pass 1 by a hair.
            share: (self.sum / positive).min(1.0),
            area: self.area as u64,
            peak: self.peak(resampled, runs),
            polygon: mask.polygon(tolerance),
        };
        Instance { region, evidence: self.max, mask }
    }

    /// As [`peak`](super::peak) has it, of these pixels alone.
    pub(super) fn peak(&self, resampled: &Resampled, runs: &[(usize, Run)]) -> Peak {
        let highest = self.runs.iter().map(|index| &runs[*index]).filter(|(_, run)| run.max >= self.max);
        let ties = highest.flat_map(|(y, whole)| {
            let tops = resampled.runs_at_least(*y as u32, self.max).into_iter();
            tops.filter(|top| whole.pixels.contains(&top.pixels.start)).map(|top| (*y, top))
        });
        nearest_to_centre(&ties.collect::<Vec<_>>())
    }
}

/// Joins runs that touch, corners included, in the order in which their first runs are read.
pub(super) fn components(runs: &[(usize, Run)]) -> Vec<Component> {
    let parents = touching(runs);
    let mut found: Vec<Component> = Vec::new();
    let mut places: Vec<Option<usize>> = vec![None; runs.len()];
    for (index, (y, run)) in runs.iter().enumerate() {
        let root = root(&parents, index);
        match places[root] {
            Some(place) => found[place].join(index, *y, run),
            None => {
                places[root] = Some(found.len());
                found.push(Component::of(index, *y, run));
            }
        }
    }
    found
}

/// For each run a run that it is joined to, or itself: following them leads to one run per component.
fn touching(runs: &[(usize, Run)]) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..runs.len()).collect();
    let mut above = 0;
    for index in 0..runs.len() {
        let (y, run) = &runs[index];
        // Runs above that end before this one begins touch none of the later ones in this row either.
        while above < index && (runs[above].0 + 1 < *y || is_left_of(&runs[above], *y, run)) {
            above += 1;
        }
        let mut other = above;
        while other < index && runs[other].0 < *y && runs[other].1.pixels.start <= run.pixels.end {
            let (a, b) = (root(&parents, other), root(&parents, index));
            parents[a.max(b)] = a.min(b);
            other += 1;
        }
        parents[index] = root(&parents, index);
    }
    parents
}

/// Whether a run of the row above ends before the run of row `y` begins, with no corner shared.
fn is_left_of(above: &(usize, Run), y: usize, run: &Run) -> bool {
    above.0 < y && above.1.pixels.end < run.pixels.start
}

fn root(parents: &[usize], mut index: usize) -> usize {
    while parents[index] != index {
        index = parents[index];
    }
    index
}
