//! A map and the truth become one number for every metric of localisation that has a meaning for them.

use serde::Serialize;

use super::{Group, METRICS, Metric, Needs};
use crate::{
    attribution::ConceptMap,
    dataset::{Extent, Truth},
    error::{Error, Result},
    metric,
};

/// How many pixels of the photo may lie between a map's largest value and the truth for the pointing game to count a
/// hit. Finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
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

/// All metrics of one map. `mask` has the truth's pixels at the photo's size.
pub(super) fn marks(
    map: &ConceptMap,
    truth: &Truth,
    mask: &[bool],
    tolerance: Tolerance,
) -> Vec<(Metric, Option<f64>)> {
    let width = map.placement().photo.width as usize;
    let values = map.at_photo_size();
    let is_point = truth.extent() == Extent::Points;
    let tolerance = if is_point { tolerance.point } else { tolerance.area };
    let mark = |metric: Metric| match metric {
        _ if is_point && metric.needs() != Needs::Place => None,
        Metric::PointingGame => metric::pointing_game(&values, mask, width, tolerance),
        Metric::EnergyPointing => metric::energy_pointing(&values, mask),
        Metric::AveragePrecision => metric::average_precision(&values, mask),
        Metric::BestIou => metric::best_iou(&values, mask).map(|best| best.iou),
        _ => None,
    };
    let localisation = METRICS.into_iter().filter(|metric| metric.group() == Group::Localisation);
    localisation.map(|metric| (metric, mark(metric))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Grid, Placement, Rect, Size};

    /// A map with a cell a pixel, so that its values at the photo's size are those given.
    fn map(values: [f32; 4]) -> ConceptMap {
        let photo = Size::new(4, 1);
        let (grid, covers) = (Grid::new(1, 4), Rect::whole(photo));
        ConceptMap::new(values.into(), Placement { photo, input: photo, grid, covers })
    }

    fn numbers(truth: &Truth, mask: [bool; 4], tolerance: Tolerance) -> Vec<Option<f64>> {
        // By falling value: pixels 1, 2, 0, 3.
        let marks = marks(&map([1.0, 4.0, 3.0, -2.0]), truth, &mask, tolerance);
        marks.into_iter().map(|(_, mark)| mark).take(4).collect()
    }

    #[test]
    fn a_map_is_measured_by_hand() {
        let truth = Truth::Mask("mask.png".into());
        let found = numbers(&truth, [false, false, true, true], Tolerance::default());
        // The peak misses; 3 of 8 lie inside; hits at ranks 2 and 4: (1/2 + 2/4) / 2; best is all: 2 of 4.
        assert_eq!(found, [Some(0.0), Some(0.375), Some(0.5), Some(0.5)]);
    }

    #[test]
    fn a_point_is_only_pointed_at() {
        let truth = Truth::Point { x: 3.5, y: 0.5 };
        let near = |point| numbers(&truth, [false, false, false, true], Tolerance { area: 9.0, point });
        assert_eq!(near(1.9), [Some(0.0), None, None, None]);
        assert_eq!(near(2.0), [Some(1.0), None, None, None]);
    }

    #[test]
    fn tolerances_are_checked() {
        assert!(Tolerance::default().check().is_ok());
        assert!(Tolerance { area: -1.0, point: 0.0 }.check().is_err());
        assert!(Tolerance { area: 0.0, point: f32::NAN }.check().is_err());
    }
}
