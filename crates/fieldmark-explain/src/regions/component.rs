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

/// Runs, and which of them touch each other, corners included.
pub(super) struct Components {
    runs: Vec<Run>,
    /// For each run the number of its component.
    numbers: Vec<u32>,
    /// The components that count, in the order in which their first runs are read unless they were sorted.
    pub(super) parts: Vec<Component>,
}

/// Runs that touch each other, taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Component {
    number: u32,
    runs: usize,
    pub(super) area: u64,
    pub(super) sum: f64,
    pub(super) max: f32,
}

impl Components {
    /// Joins runs that touch; they come in the order of reading.
    pub(super) fn of(runs: Vec<Run>) -> Self {
        let (mut numbers, labels) = labels(&runs);
        let mut parts: Vec<Component> = Vec::new();
        // Smaller labels come first, so that of a parent the number is known.
        let mut number_of: Vec<u32> = Vec::with_capacity(labels.len());
        for (label, Label { parent, own }) in labels.into_iter().enumerate() {
            match number_of.get(parent as usize) {
                Some(number) => {
                    parts[*number as usize].add(&own);
                    number_of.push(*number);
                }
                None => {
                    debug_assert_eq!(parent as usize, label);
                    let number = parts.len() as u32;
                    parts.push(Component { number, ..own });
                    number_of.push(number);
                }
            }
        }
        for number in &mut numbers {
            *number = number_of[*number as usize];
        }
        Self { runs, numbers, parts }
    }

    /// What the parts that count are called outside; `positive`: the sum of all positive evidence.
    pub(super) fn instances(&self, resampled: &Resampled, positive: f64) -> Vec<Instance> {
        let photo = resampled.map().placement().photo;
        let mut masks: Vec<_> = self.parts.iter().map(|part| Vec::with_capacity(part.runs)).collect();
        self.for_each_run(|place, run| masks[place].push((run.y, run.pixels.clone())));
        let places = self.peaks(resampled).into_iter().zip(masks);
        let parts = self.parts.iter().zip(places);
        parts.map(|(part, (peak, runs))| part.instance(Mask::new(photo, runs), peak, positive)).collect()
    }

    /// The [`peak`](super::peak) of each of the parts that count.
    pub(super) fn peaks(&self, resampled: &Resampled) -> Vec<Peak> {
        let mut ties = vec![Vec::new(); self.parts.len()];
        self.for_each_run(|place, run| {
            let max = self.parts[place].max;
            if run.max >= max {
                resampled.add_parts(&mut ties[place], run, max);
            }
        });
        ties.iter().map(|ties| nearest_to_centre(ties)).collect()
    }

    /// Shows the runs of the parts that count, with the part's place among them, in the order of reading.
    fn for_each_run(&self, mut show: impl FnMut(usize, &Run)) {
        let count = self.parts.iter().map(|part| part.number as usize + 1).max().unwrap_or(0);
        let mut places = vec![None; count];
        for (place, part) in self.parts.iter().enumerate() {
            places[part.number as usize] = Some(place);
        }
        for (run, number) in self.runs.iter().zip(&self.numbers) {
            if let Some(place) = places.get(*number as usize).copied().flatten() {
                show(place, run);
            }
        }
    }
}

impl Component {
    const NONE: Self = Self { number: 0, runs: 0, area: 0, sum: 0.0, max: f32::MIN };

    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.area += other.area;
        self.sum += other.sum;
        self.max = if other.max > self.max { other.max } else { self.max };
    }

    fn add_run(&mut self, Run { pixels, max, sum, .. }: &Run) {
        let area = u64::from(pixels.end - pixels.start);
        self.add(&Self { number: 0, runs: 1, area, sum: *sum, max: *max });
    }

    fn instance(&self, mask: Mask, peak: Peak, positive: f64) -> Instance {
        let photo = mask.size();
        let finest = (f64::from(photo.width.max(photo.height)) / 1000.0).max(1.0);
        let tolerance = finest.min(OUTLINE_PART * (self.area as f64).sqrt());
        let [across, down] = mask.bounds();
        let region = Region {
            x: across.start,
            y: down.start,
            width: across.end - across.start,
            height: down.end - down.start,
            // The two sums are rounded differently, so the quotient may pass 1 by a hair.
            share: (self.sum / positive).min(1.0),
            area: self.area,
            peak,
            polygon: mask.polygon(tolerance),
        };
        Instance { region, evidence: self.max, mask }
    }
}

/// What some runs have in common that were found to touch each other, before all was seen.
struct Label {
    /// A smaller label of the same component, or itself.
    parent: u32,
    /// What the runs with this label come to.
    own: Component,
}

/// A label for each run, and the labels.
fn labels(runs: &[Run]) -> (Vec<u32>, Vec<Label>) {
    let mut numbers: Vec<u32> = Vec::with_capacity(runs.len());
    let mut labels: Vec<Label> = Vec::new();
    let mut above = 0;
    for (index, run) in runs.iter().enumerate() {
        // Runs above that end before this one begins touch none of the later ones in this row either.
        while above < index && is_passed(&runs[above], run) {
            above += 1;
        }
        let new = labels.len() as u32;
        let mut label = new;
        let mut next = above;
        while next < index && runs[next].y < run.y && runs[next].pixels.start <= run.pixels.end {
            let other = root(&mut labels, numbers[next]);
            if label < new {
                labels[label.max(other) as usize].parent = label.min(other);
            }
            label = label.min(other);
            next += 1;
        }
        if label == new {
            labels.push(Label { parent: new, own: Component::NONE });
        }
        labels[label as usize].own.add_run(run);
        numbers.push(label);
    }
    (numbers, labels)
}

/// Whether a run lies further up than in the row above another, or there to the left of it with no corner shared.
fn is_passed(above: &Run, run: &Run) -> bool {
    above.y + 1 < run.y || (above.y < run.y && above.pixels.end < run.pixels.start)
}

/// The smallest label of a component; the way there is halved for the next search.
fn root(labels: &mut [Label], mut label: u32) -> u32 {
    loop {
        let parent = labels[label as usize].parent;
        if parent == label {
            return label;
        }
        labels[label as usize].parent = labels[parent as usize].parent;
        label = labels[label as usize].parent;
    }
}
