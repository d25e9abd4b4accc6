//! A map and the truth become one number for every metric of localisation that has a meaning for them.

use std::{borrow::Cow, path::Path};

use serde::{Deserialize, Serialize};

use super::{Group, Metric, Needs};
use crate::{
    dataset::{Extent, PointPixels, Truth},
    metric::{self, Confusion},
};
use fieldmark_explain::attribution::ConceptMap;
use fieldmark_model::{
    error::{Error, Result},
    geometry::{Rect, Size},
};

/// How many pixels of the photo may lie between a map's largest value and the truth for the pointing game to count a
/// hit. Finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tolerance {
    /// Where a mask or a box is known.
    pub area: f32,
    /// Where only a point is known.
    pub point: f32,
}

impl Default for Tolerance {
    /// None beside a mask or box; 15 pixels around a point, as in TorchRay.
    fn default() -> Self {
        Self { area: 0.0, point: 15.0 }
    }
}

impl Tolerance {
    pub(super) fn check(self) -> Result<()> {
        let bad = [self.area, self.point].into_iter().find(|pixels| !(pixels.is_finite() && *pixels >= 0.0));
        let reason = |found| format!("expected a number of pixels that is not negative, found {found}");
        bad.map_or(Ok(()), |found| Err(Error::Option { option: "tolerance", reason: reason(found) }))
    }
}

/// What is known of a concept's place on one photo, as the metrics want it.
pub(super) struct Known {
    /// The truth's pixels, at least one of them inside.
    mask: Vec<bool>,
    /// The boxes that are known, else the one around the mask.
    boxes: Vec<Rect>,
    /// Points in and out, where it is those that are known.
    points: Option<PointPixels>,
    extent: Extent,
}

impl Known {
    /// What a truth says of a photo of that size; `None` where no place is known. `photo` names it in messages.
    ///
    /// # Errors
    /// As [`Truth::mask`].
    pub(super) fn of(truth: &Truth, photo: &Path, size: Size) -> Result<Option<Self>> {
        let Some(mask) = truth.mask(photo, size)? else { return Ok(None) };
        let points = match truth {
            Truth::Points(labels) => Some(labels.pixels(photo, size)?),
            _ => None,
        };
        let mut boxes = truth.boxes().to_vec();
        if boxes.is_empty() {
            boxes.extend(metric::bounding_box(&mask, size.width as usize));
        }
        Ok(Some(Self { mask, boxes, points, extent: truth.extent() }))
    }

    /// Whether this is enough for a metric.
    fn suits(&self, metric: Metric) -> bool {
        match metric.needs() {
            Needs::Place => true,
            Needs::Area => self.extent == Extent::Area,
            Needs::Points => self.points.is_some(),
            Needs::Presence | Needs::Rivals => false,
        }
    }
}

/// All metrics of localisation of one map; none where one has no meaning.
pub(super) fn marks(
    map: Cow<'_, ConceptMap>,
    known: &Known,
    tolerance: Tolerance,
) -> Vec<(Metric, Option<f64>)> {
    let width = map.placement().photo.width as usize;
    // A map on the photo's pixels is large: of one that is not needed any more no copy is made.
    let values = match map {
        Cow::Borrowed(map) => map.at_photo_size(),
        Cow::Owned(map) => map.into_photo_size(),
    };
    let localisation = Metric::ALL.iter().copied().filter(|metric| metric.group() == Group::Localisation);
    let map =
        Map { width, half_peak: metric::half_peak(&values), above_mean: metric::above_mean(&values), values };
    localisation.map(|metric| (metric, map.mark(metric, known, tolerance))).collect()
}

/// A map at the photo's size, and the pixels that it calls the concept's.
struct Map {
    values: Vec<f32>,
    width: usize,
    half_peak: Vec<bool>,
    above_mean: Vec<bool>,
}

impl Map {
    fn mark(&self, metric: Metric, known: &Known, tolerance: Tolerance) -> Option<f64> {
        if !known.suits(metric) {
            return None;
        }
        let Self { values, width, half_peak, above_mean } = self;
        let Known { mask, boxes, points, extent } = known;
        let tolerance = if *extent == Extent::Points { tolerance.point } else { tolerance.area };
        let against = |found: &[bool]| Confusion::of(found.iter().copied().zip(mask.iter().copied()));
        match metric {
            Metric::PointingGame => metric::pointing_game(values, mask, *width, tolerance),
            Metric::EnergyPointing => metric::energy_pointing(values, mask),
            Metric::AveragePrecision => metric::average_precision(values, mask),
            Metric::BestIou => metric::best_iou(values, mask).map(|best| best.iou),
            Metric::IouHalfPeak => against(half_peak).iou(),
            Metric::IouAboveMean => against(above_mean).iou(),
            Metric::MeanIouAboveMean => against(above_mean).mean_iou(),
            Metric::PixelAccuracy => against(above_mean).accuracy(),
            Metric::BoxAccuracy => metric::box_accuracy(half_peak, *width, boxes),
            Metric::BoxAccuracyV2 => metric::box_accuracy_v2(half_peak, *width, boxes),
            Metric::PointMeanIou => {
                points.as_ref().and_then(|points| metric::point_mean_iou(values, &points.yes, &points.no))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{PointLabels, PointUnit};
    use fieldmark_model::geometry::{Grid, Placement};

    /// A map with a cell a pixel, so that its values at the photo's size are those given.
    fn map(values: [f32; 4]) -> ConceptMap {
        let photo = Size::new(4, 1);
        let (grid, covers) = (Grid::new(1, 4), Rect::whole(photo));
        ConceptMap::new(values.into(), Placement { photo, input: photo, grid, covers })
    }

    fn numbers(truth: &Truth, tolerance: Tolerance) -> Vec<(Metric, f64)> {
        // By falling value: pixels 1, 2, 0, 3.
        let known = Known::of(truth, Path::new("photo"), Size::new(4, 1)).unwrap().unwrap();
        let marks = marks(Cow::Owned(map([1.0, 4.0, 3.0, -2.0])), &known, tolerance);
        marks.into_iter().filter_map(|(metric, mark)| Some((metric, mark?))).collect()
    }

    #[test]
    fn a_map_is_measured_by_hand() {
        let truth = Truth::Box(Rect { x0: 2.0, y0: 0.0, x1: 4.0, y1: 1.0 });
        // The peak misses; 3 of 8 lie inside; hits at ranks 2 and 4: (1/2 + 2/4) / 2; best is all: 2 of 4. Half the
        // peak has pixels 1 and 2, as has the mean of the positive part, 2: 1 of 3, and as much of the background.
        // The box from 1 to 3 overlaps by 1 of 3.
        let expected = [
            (Metric::PointingGame, 0.0),
            (Metric::EnergyPointing, 0.375),
            (Metric::AveragePrecision, 0.5),
            (Metric::BestIou, 0.5),
            (Metric::IouHalfPeak, 1.0 / 3.0),
            (Metric::IouAboveMean, 1.0 / 3.0),
            (Metric::MeanIouAboveMean, 1.0 / 3.0),
            (Metric::PixelAccuracy, 0.5),
            (Metric::BoxAccuracy, 0.0),
            (Metric::BoxAccuracyV2, 1.0 / 3.0),
        ];
        assert_eq!(numbers(&truth, Tolerance::default()), expected);
    }

    #[test]
    fn a_point_is_only_pointed_at() {
        let truth = Truth::Point { x: 3.5, y: 0.5 };
        let near = |point| numbers(&truth, Tolerance { area: 9.0, point });
        assert_eq!(near(1.9), [(Metric::PointingGame, 0.0)]);
        assert_eq!(near(2.0), [(Metric::PointingGame, 1.0)]);
    }

    #[test]
    fn points_in_and_out_are_counted() {
        let (yes, no) = (vec![[1.5, 0.5], [3.5, 0.5]], vec![[0.5, 0.5]]);
        let truth = Truth::Points(PointLabels { yes, no, unit: PointUnit::Pixel });
        // Pixel 1 is found and 3 is missed: 1 of 2; the background has pixel 0 right: 1 of 2.
        let expected = [(Metric::PointingGame, 1.0), (Metric::PointMeanIou, 0.5)];
        assert_eq!(numbers(&truth, Tolerance::default()), expected);
        assert!(Known::of(&Truth::Absent, Path::new("photo"), Size::new(4, 1)).unwrap().is_none());
    }

    #[test]
    fn tolerances_are_checked() {
        assert!(Tolerance::default().check().is_ok());
        assert!(Tolerance { area: -1.0, point: 0.0 }.check().is_err());
        assert!(Tolerance { area: 0.0, point: f32::NAN }.check().is_err());
    }
}
