//! What a record says of a map's places, found in one reading.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Peak, Point, Reading, Region, Threshold};
use crate::attribution::{ConceptMap, resample::Resampled};

/// Where the evidence is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// The pixel with the largest evidence; none where there is no positive evidence.
    pub peak: Option<Peak>,
    /// The connected parts of the photo with strong evidence, the largest share first.
    pub regions: Vec<Region>,
    /// Hints for a segmenter.
    pub points: Vec<Point>,
}

impl Place {
    /// Reads a map.
    pub fn of(map: &ConceptMap, threshold: Threshold) -> Self {
        Self::read(Reading::of(map), threshold)
    }

    /// Reads maps of one placement: where the photo's pixels lie between the cells is found out once for all.
    pub fn of_all(maps: &[ConceptMap], threshold: Threshold) -> Vec<Self> {
        let Some(first) = maps.first() else { return Vec::new() };
        let photo = Resampled::new(first, first.placement().photo);
        maps.par_iter().map(|map| Self::read(Reading::at_pixels(photo.of_other(map)), threshold)).collect()
    }

    fn read(reading: Option<Reading>, threshold: Threshold) -> Self {
        let Some(reading) = reading else {
            return Self { peak: None, regions: Vec::new(), points: Vec::new() };
        };
        let instances = reading.instances(threshold);
        let points = reading.points(&instances, threshold);
        let regions = instances.into_iter().map(|instance| instance.region).collect();
        Self { peak: Some(reading.peak()), regions, points }
    }
}
