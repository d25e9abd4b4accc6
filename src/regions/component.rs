//! Runs of pixels that touch each other become one component, and that an instance.

use super::{Instance, Mask, Peak, Region};
use crate::attribution::{resample::Resampled, runs::Run};

/// An outline may be off by this part of the region's size (the root of its area), and by a pixel in a thousand.
const OUTLINE_PART: f64 = 0.05;

/// Of the pixels of some runs (at least one), the one nearest to their centre of mass.
pub(super) fn nearest_to_centre(runs: &[Run]) -> Peak {
    let (mut count, mut sum_x, mut sum_y) = (0.0, 0.0, 0.0);
    for Run { y, pixels, .. } in runs {
        let length = f64::from(pixels.end - pixels.start);
        count += length;
        sum_x += length * f64::from(pixels.start + pixels.end - 1) / 2.0;
        sum_y += length * f64::from(*y);
    }
    let (centre_x, centre_y) = (sum_x / count, sum_y / count);
    let mut best = (f64::INFINITY, Peak { x: 0, y: 0 });
    for Run { y, pixels, .. } in runs {
        let x = centre_x.clamp(f64::from(pixels.start), f64::from(pixels.end - 1)).round();
        let distance = (x - centre_x).powi(2) + (f64::from(*y) - centre_y).powi(2);
        if distance < best.0 {
            best = (distance, Peak { x: x as u32, y: *y });
        }
    }
    best.1
}

/// Runs that touch each other, in the order of reading.
pub(super) struct Component {
    runs: Vec<Run>,
    pub(super) area: u64,
    pub(super) sum: f64,
    pub(super) max: f32,
}

impl Component {
    fn new(runs: Vec<Run>) -> Self {
        let (mut area, mut sum, mut max) = (0, 0.0, f32::MIN);
        for run in &runs {
            area += u64::from(run.pixels.end - run.pixels.start);
            sum += run.sum;
            max = max.max(run.max);
        }
        Self { runs, area, sum, max }
    }

    /// What it is called outside; `positive`: the sum of all positive evidence.
    pub(super) fn instance(&self, resampled: &Resampled, positive: f64) -> Instance {
        let photo = resampled.map().placement().photo;
        let mask = Mask::new(photo, self.runs.iter().map(|run| (run.y, run.pixels.clone())).collect());
        let finest = (f64::from(photo.width.max(photo.height)) / 1000.0).max(1.0);
        let tolerance = finest.min(OUTLINE_PART * (self.area as f64).sqrt());
        let mut across = self.runs[0].pixels.clone();
        for run in &self.runs {
            across = across.start.min(run.pixels.start)..across.end.max(run.pixels.end);
        }
        let down = self.runs[0].y..self.runs[self.runs.len() - 1].y + 1;
        let region = Region {
            x: across.start,
            y: down.start,
            width: across.end - across.start,
            height: down.end - down.start,
            // The two sums are rounded differently, so the quotient may pass 1 by a hair.
            share: (self.sum / positive).min(1.0),
            area: self.area,
            peak: self.peak(resampled),
            polygon: mask.polygon(tolerance),
        };
        Instance { region, evidence: self.max, mask }
    }

    /// As [`peak`](super::peak) has it, of these pixels alone.
    pub(super) fn peak(&self, resampled: &Resampled) -> Peak {
        let mut ties = Vec::new();
        for run in self.runs.iter().filter(|run| run.max >= self.max) {
            resampled.add_parts(&mut ties, run, self.max);
        }
        nearest_to_centre(&ties)
    }
}

/// Joins runs that touch, corners included, in the order in which their first runs are read.
pub(super) fn components(runs: &[Run]) -> Vec<Component> {
    let (mut labels, parents) = labels(runs);
    let (numbers, count) = numbered(&parents);
    let mut lengths = vec![0; count];
    for label in &mut labels {
        *label = numbers[*label];
        lengths[*label] += 1;
    }
    let mut parts: Vec<Vec<Run>> = lengths.into_iter().map(Vec::with_capacity).collect();
    for (run, number) in runs.iter().zip(labels) {
        parts[number].push(run.clone());
    }
    parts.into_iter().map(Component::new).collect()
}

/// A label for each run, and for each label a smaller one of the same component, or itself.
fn labels(runs: &[Run]) -> (Vec<usize>, Vec<usize>) {
    let mut labels: Vec<usize> = Vec::with_capacity(runs.len());
    let mut parents: Vec<usize> = Vec::new();
    let mut above = 0;
    for (index, run) in runs.iter().enumerate() {
        // Runs above that end before this one begins touch none of the later ones in this row either.
        while above < index && (runs[above].y + 1 < run.y || is_left_of(&runs[above], run)) {
            above += 1;
        }
        let touching = runs[above..index].iter().zip(&labels[above..]);
        let touching =
            touching.take_while(|(other, _)| other.y < run.y && other.pixels.start <= run.pixels.end);
        let mut label = parents.len();
        for (_, other) in touching {
            let other = root(&mut parents, *other);
            if label < parents.len() {
                parents[label.max(other)] = label.min(other);
            }
            label = label.min(other);
        }
        if label == parents.len() {
            parents.push(label);
        }
        labels.push(label);
    }
    (labels, parents)
}

/// For each label the number of its component, in the order of their smallest labels, and how many there are.
fn numbered(parents: &[usize]) -> (Vec<usize>, usize) {
    let (mut numbers, mut count) = (Vec::with_capacity(parents.len()), 0);
    for (label, parent) in parents.iter().enumerate() {
        if *parent == label {
            numbers.push(count);
            count += 1;
        } else {
            numbers.push(numbers[*parent]);
        }
    }
    (numbers, count)
}

/// Whether a run of the row above ends before another begins, with no corner shared.
fn is_left_of(above: &Run, run: &Run) -> bool {
    above.y < run.y && above.pixels.end < run.pixels.start
}

/// The smallest label of a component; the way there is halved for the next search.
fn root(parents: &mut [usize], mut label: usize) -> usize {
    while parents[label] != label {
        parents[label] = parents[parents[label]];
        label = parents[label];
    }
    label
}
