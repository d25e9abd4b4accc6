//! A map becomes points for a segmenter: where the concept is, and where it is not.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{Instance, Peak, Reading, Threshold};
use crate::attribution::ConceptMap;

/// The most points of either label.
pub const MOST_POINTS: usize = 10;

/// What a point says about its pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Label {
    /// It shows the concept.
    Concept,
    /// It shows something else.
    Other,
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Label {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Label".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "integer", "enum": [0, 1]})
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Ok(Self::Other),
            1 => Ok(Self::Concept),
            other => Err(D::Error::custom(format!("label: expected 0 or 1, found {other}"))),
        }
    }
}

/// The labels of segmenters that take points: 1 and 0.
impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(u8::from(*self == Self::Concept))
    }
}

/// A pixel of the photo, as a hint for a segmenter such as Segment Anything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Point {
    /// Pixels to the left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
    /// Whether it shows the concept.
    pub label: Label,
    /// The evidence there, in logits; its sign is the label's.
    pub evidence: f32,
}

/// The peak of every instance of the concept, and the deepest point of every place that speaks against it: at most
/// [`MOST_POINTS`] with positive evidence, and no more with negative evidence than with positive. Both lists are
/// ordered by the evidence of their places.
///
/// CLIP Surgery (Li et al., 2023) scales a map to 0 to 1, takes the pixels above 0.8 on a coarser grid, and as many of
/// the lowest as points against. Here one place gives one point, so a large instance does not crowd out a small one;
/// and a point against needs evidence against: the lowest of a map that is positive throughout is no counter-example.
/// Without positive evidence there are no points at all.
pub fn points(map: &ConceptMap, threshold: Threshold) -> Vec<Point> {
    Reading::of(map).map_or(Vec::new(), |reading| reading.points(&reading.instances(threshold), threshold))
}

impl Reading<'_> {
    /// As [`points`] has them; `found`: the map's instances.
    pub(crate) fn points(&self, found: &[Instance], threshold: Threshold) -> Vec<Point> {
        let instances = found.iter().take(MOST_POINTS);
        let mut points: Vec<Point> = instances
            .map(|Instance { region, evidence, .. }| Point::at(region.peak, Label::Concept, *evidence))
            .collect();
        points.extend(self.points_against(points.len(), threshold));
        points
    }

    /// The deepest points of the places that speak against the concept, `most` at most.
    fn points_against(&self, most: usize, threshold: Threshold) -> Vec<Point> {
        let map = self.resampled.map();
        if !map.values().iter().any(|value| *value < 0.0) {
            return Vec::new();
        }
        let negated = map.negated();
        let Some(reading) = Reading::at_pixels(self.resampled.of_other(&negated)) else { return Vec::new() };
        let mut places = reading.components(threshold, -self.sums().negative);
        places.parts.truncate(most);
        let deepest = places.peaks(&reading.resampled).into_iter().zip(&places.parts);
        deepest.map(|(peak, place)| Point::at(peak, Label::Other, -place.max)).collect()
    }
}

impl Point {
    fn at(Peak { x, y }: Peak, label: Label, evidence: f32) -> Self {
        Self { x, y, label, evidence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::reading::tests::pixels;

    #[test]
    fn every_instance_gives_a_point_and_as_many_places_against_at_most() {
        #[rustfmt::skip]
        let map = pixels(6, &[
            4.0, 3.0, -1.0, -1.0, 0.0, 3.0,
            3.0, 0.0, -1.0, -2.0, 0.0, 2.0,
            0.0, 0.0,  0.0,  0.0, 0.0, 0.0,
            -1.5, 0.0, 0.0, -1.2, 0.0, 0.0,
        ]);
        let found: Vec<_> =
            points(&map, Threshold::default()).iter().map(|p| (p.x, p.y, p.label, p.evidence)).collect();
        assert_eq!(
            found,
            [
                (0, 0, Label::Concept, 4.0),
                (5, 0, Label::Concept, 3.0),
                (3, 1, Label::Other, -2.0),
                (0, 3, Label::Other, -1.5),
            ]
        );
    }

    #[test]
    fn without_evidence_for_it_there_are_no_points_and_without_any_against_it_none_of_those() {
        assert!(points(&pixels(2, &[0.0, -1.0]), Threshold::default()).is_empty());
        let found = points(&pixels(2, &[1.0, 0.1]), Threshold::default());
        assert_eq!((found.len(), found[0].label), (1, Label::Concept));
    }

    #[test]
    fn labels_are_numbers_in_json() {
        let point = Point { x: 1, y: 2, label: Label::Other, evidence: -0.5 };
        assert_eq!(serde_json::to_string(&point).unwrap(), r#"{"x":1,"y":2,"label":0,"evidence":-0.5}"#);
    }
}
