//! A map and the truth become one number for every metric that has a meaning for them.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    attribution::ConceptMap,
    dataset::{Extent, Truth},
    error::{Error, Result},
    metric,
};

/// How well a map finds a place. All go from 0 to 1, and more is better; [`crate::metric`] defines them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Whether the largest value lies in the mask, or near it.
    PointingGame,
    /// The share of the positive evidence that lies in the mask.
    EnergyPointing,
    /// The average precision of the pixels, ranked by the map.
    AveragePrecision,
    /// The intersection over union with the mask at the threshold that suits the picture best.
    BestIou,
}

/// Every metric, in the order of tables.
pub const METRICS: [Metric; 4] =
    [Metric::PointingGame, Metric::EnergyPointing, Metric::AveragePrecision, Metric::BestIou];

impl Metric {
    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::PointingGame => "pointing_game",
            Self::EnergyPointing => "energy_pointing",
            Self::AveragePrecision => "average_precision",
            Self::BestIou => "best_iou",
        }
    }

    /// The name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::PointingGame => "pointing game",
            Self::EnergyPointing => "energy pointing game",
            Self::AveragePrecision => "pixel average precision",
            Self::BestIou => "IoU at best threshold",
        }
    }

    /// Whether it can be measured where only a point is known.
    fn takes_points(self) -> bool {
        self == Self::PointingGame
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = METRICS.into_iter().find(|metric| metric.name() == text);
        let names = || METRICS.map(Self::name).join(", ");
        let reason = || format!("expected some of {}, found {text:?}", names());
        found.ok_or_else(|| Error::Option { option: "metric", reason: reason() })
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How many pixels of the photo may lie between a map's largest value and the truth for the pointing game to count a
/// hit. Finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
        _ if is_point && !metric.takes_points() => None,
        Metric::PointingGame => metric::pointing_game(&values, mask, width, tolerance),
        Metric::EnergyPointing => metric::energy_pointing(&values, mask),
        Metric::AveragePrecision => metric::average_precision(&values, mask),
        Metric::BestIou => metric::best_iou(&values, mask).map(|best| best.iou),
    };
    METRICS.map(|metric| (metric, mark(metric))).into()
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
        marks.into_iter().map(|(_, mark)| mark).collect()
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
