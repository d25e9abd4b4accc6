//! A documented rule becomes a level of evidence: what is at least that strong belongs to the concept.

use std::{fmt, str::FromStr};

use crate::attribution::ConceptMap;
use crate::attribution::resample::Resampled;
use fieldmark_model::as_text;
use fieldmark_model::error::{Error, Result};
use fieldmark_model::geometry::Size;

/// Otsu's method and the share read the map at this many pixels at most: their level then hardly changes, and a
/// photo of 200 million pixels costs no more than one of a million. A smaller photo is read pixel by pixel.
const MOST_SAMPLES: u64 = 1 << 20;

/// Otsu's histogram. More bins find no other valley: the map is smooth.
const BINS: usize = 256;

/// Which evidence is strong enough to belong to the concept. All rules see only positive evidence.
///
/// As text: `peak:0.5`, `otsu`, `share:0.8`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Threshold {
    /// At least this fraction of the largest evidence, 0 to 1.
    Peak(f64),
    /// Otsu's method (IEEE Transactions on Systems, Man and Cybernetics 9, 1979): the level that divides the pixels
    /// into two classes whose means are furthest apart. Evidence against the concept counts as none.
    Otsu,
    /// The strongest evidence that together makes up this share of all positive evidence, above 0 to 1.
    Share(f64),
}

impl Default for Threshold {
    /// Half of the peak.
    fn default() -> Self {
        Self::Peak(0.5)
    }
}

impl Threshold {
    /// The smallest evidence that belongs to the concept, in logits. `peak` is the largest evidence, above 0.
    pub(super) fn level(self, map: &ConceptMap, peak: f32) -> f32 {
        match self {
            Self::Peak(fraction) => (f64::from(peak) * fraction.clamp(0.0, 1.0)) as f32,
            Self::Otsu => otsu(&samples(map), peak),
            Self::Share(share) => level_of_share(samples(map), share).unwrap_or(peak),
        }
    }
}

impl FromStr for Threshold {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fraction = |number: &str| number.parse().ok().filter(|part: &f64| (0.0..=1.0).contains(part));
        let found = match text.split_once(':') {
            None if text == "otsu" => Some(Self::Otsu),
            Some(("peak", number)) => fraction(number).map(Self::Peak),
            Some(("share", number)) => fraction(number).filter(|share| *share > 0.0).map(Self::Share),
            _ => None,
        };
        let reason = || {
            let forms = "peak:X with X from 0 to 1, otsu, or share:X with X above 0 and at most 1";
            format!("expected {forms}, found {text:?}")
        };
        found.ok_or_else(|| Error::Option { option: "threshold", reason: reason() })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peak(fraction) => write!(f, "peak:{fraction}"),
            Self::Otsu => write!(f, "otsu"),
            Self::Share(share) => write!(f, "share:{share}"),
        }
    }
}

as_text!(Threshold);

/// The map's values at evenly spread pixels of what it covers.
fn samples(map: &ConceptMap) -> Vec<f32> {
    let photo = map.placement().photo;
    let scale = (MOST_SAMPLES as f64 / photo.area().max(1) as f64).sqrt().min(1.0);
    let side = |pixels: u32| ((f64::from(pixels) * scale) as u32).max(1);
    let size = Size::new(side(photo.width), side(photo.height));
    let resampled = Resampled::new(map, size);
    let mut row = vec![0.0; size.width as usize];
    let mut samples = Vec::with_capacity(size.area() as usize);
    for y in 0..size.height {
        resampled.row(y, &mut row);
        samples.extend(row.iter().copied().filter(|value| !value.is_nan()));
    }
    samples
}

fn otsu(samples: &[f32], peak: f32) -> f32 {
    let mut counts = [0.0_f64; BINS];
    for sample in samples {
        let bin = (sample.max(0.0) / peak * BINS as f32) as usize;
        counts[bin.min(BINS - 1)] += 1.0;
    }
    let total = samples.len() as f64;
    let mean = counts.iter().enumerate().map(|(bin, count)| bin as f64 * count).sum::<f64>() / total;
    let (mut below, mut sum_below) = (0.0, 0.0);
    let mut best = (0.0, 0);
    for (bin, count) in counts.iter().enumerate().take(BINS - 1) {
        below += count;
        sum_below += bin as f64 * count;
        let (share, gap) = (below / total, mean * below - sum_below);
        // The variance between the classes is (mean · below - sum)² / (below · above), up to a factor.
        let between = if share > 0.0 && share < 1.0 { gap * gap / (share * (1.0 - share)) } else { 0.0 };
        if between > best.0 {
            best = (between, bin + 1);
        }
    }
    best.1 as f32 / BINS as f32 * peak
}

/// The smallest of the largest samples that together have a share of the sum of the positive ones.
fn level_of_share(mut samples: Vec<f32>, share: f64) -> Option<f32> {
    samples.retain(|sample| *sample > 0.0);
    samples.sort_unstable_by(|one, other| other.total_cmp(one));
    let wanted = share.clamp(0.0, 1.0) * samples.iter().map(|sample| f64::from(*sample)).sum::<f64>();
    let mut sum = 0.0;
    let reached = samples.iter().find(|sample| {
        sum += f64::from(**sample);
        sum >= wanted
    });
    reached.or(samples.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_threshold_reads_back() {
        for text in ["peak:0.5", "peak:0", "peak:1", "otsu", "share:0.8", "share:1"] {
            assert_eq!(text.parse::<Threshold>().unwrap().to_string(), text);
        }
        for text in ["", "peak", "peak:", "peak:1.5", "peak:-1", "peak:NaN", "share:0", "otsu:1", "half"] {
            let error = text.parse::<Threshold>().unwrap_err().to_string();
            assert!(error.contains("threshold") && error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn otsu_cuts_between_two_heaps() {
        let mut samples = vec![0.1; 70];
        samples.extend([0.9; 30]);
        samples.extend([-5.0; 10]);
        samples.push(1.0);
        let level = otsu(&samples, 1.0);
        assert!(level > 0.1 && level <= 0.9, "{level}");
    }

    #[test]
    fn a_share_takes_the_strongest_first() {
        let samples = || vec![1.0, -7.0, 4.0, 2.0, 3.0];
        assert_eq!(level_of_share(samples(), 0.4), Some(4.0));
        assert_eq!(level_of_share(samples(), 0.41), Some(3.0));
        assert_eq!(level_of_share(samples(), 0.9), Some(2.0));
        assert_eq!(level_of_share(samples(), 1.0), Some(1.0));
        assert_eq!(level_of_share(vec![-1.0, 0.0], 0.5), None);
    }
}
