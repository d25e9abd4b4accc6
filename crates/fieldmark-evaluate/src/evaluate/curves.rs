//! The curves that metrics are made of: numbers that change with how much is changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Metric, faithfulness,
    faithfulness::Faithful,
    sanity::{Likeness, Sane},
};

/// A number that changes with another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Curve {
    /// Where: rising.
    pub at: Vec<f64>,
    /// What was found there; as many.
    pub values: Vec<f64>,
}

/// A curve's name, what it says to people, and where it comes from.
pub struct CurveKind {
    /// The name in results.
    pub name: &'static str,
    /// The name in plots.
    pub title: &'static str,
    /// What its axes count.
    pub axes: [&'static str; 2],
    /// The metrics with which it is measured.
    metrics: &'static [Metric],
    of: fn(Option<&Faithful>, Option<&Sane>) -> Option<Curve>,
}

/// Every curve.
pub static CURVES: [CurveKind; 6] = [
    CurveKind {
        name: "deletion",
        title: "deletion: the score while pixels are removed",
        axes: ["share of pixels removed", "score"],
        metrics: &[Metric::DeletionAuc],
        of: |faithful, _| from(&faithful?.deletion),
    },
    CurveKind {
        name: "insertion",
        title: "insertion: the score while pixels are put in",
        axes: ["share of pixels put in", "score"],
        metrics: &[Metric::InsertionAuc],
        of: |faithful, _| from(&faithful?.insertion),
    },
    CurveKind {
        name: "road_morf",
        title: "ROAD: the most relevant pixels removed",
        axes: ["share of pixels removed", "change of the score"],
        metrics: &[Metric::RoadMostFirst],
        of: |faithful, _| from(&faithful?.road_most_first),
    },
    CurveKind {
        name: "road_lerf",
        title: "ROAD: the least relevant pixels removed",
        axes: ["share of pixels removed", "change of the score"],
        metrics: &[Metric::RoadLeastFirst],
        of: |faithful, _| from(&faithful?.road_least_first),
    },
    CurveKind {
        name: "cascade_rank",
        title: "shuffled weights: rank correlation with the map",
        axes: ["blocks shuffled, from the last", "rank correlation"],
        metrics: &[Metric::LastBlockRandomRank, Metric::AllBlocksRandomRank],
        of: |_, sane| cascade(sane?, |likeness| likeness.rank),
    },
    CurveKind {
        name: "cascade_ssim",
        title: "shuffled weights: structural similarity with the map",
        axes: ["blocks shuffled, from the last", "SSIM"],
        metrics: &[Metric::LastBlockRandomSsim, Metric::AllBlocksRandomSsim],
        of: |_, sane| cascade(sane?, |likeness| likeness.ssim),
    },
];

impl CurveKind {
    /// Whether it is measured along with any of these metrics.
    pub fn belongs_to(&self, metrics: &[Metric]) -> bool {
        self.metrics.iter().any(|metric| metrics.contains(metric))
    }
}

/// The curves of one map that were measured, by name.
pub(super) fn of(faithful: Option<&Faithful>, sane: Option<&Sane>) -> BTreeMap<String, Curve> {
    let curve = |kind: &CurveKind| Some((kind.name.to_owned(), (kind.of)(faithful, sane)?));
    CURVES.iter().filter_map(curve).collect()
}

fn from(curve: &faithfulness::Curve) -> Option<Curve> {
    let faithfulness::Curve { shares, scores } = curve.clone();
    (!shares.is_empty()).then_some(Curve { at: shares, values: scores })
}

/// None where two maps of a stage cannot be compared.
fn cascade(sane: &Sane, part: fn(&Likeness) -> Option<f64>) -> Option<Curve> {
    let at = sane.cascade.iter().map(|(blocks, _)| *blocks as f64).collect();
    let values: Option<Vec<f64>> = sane.cascade.iter().map(|(_, likeness)| part(likeness)).collect();
    values.filter(|values| !values.is_empty()).map(|values| Curve { at, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_curve() {
        let deletion = faithfulness::Curve { shares: vec![0.0, 1.0], scores: vec![0.5, 0.25] };
        let faithful = Faithful { deletion, ..Faithful::default() };
        let flat = Likeness { rank: Some(0.5), ssim: None };
        let sane = Sane { marks: Vec::new(), cascade: vec![(1, flat), (2, flat)] };
        let curves = of(Some(&faithful), Some(&sane));
        let names: Vec<&str> = curves.keys().map(String::as_str).collect();
        assert_eq!(names, ["cascade_rank", "deletion"]);
        assert_eq!(curves["deletion"], Curve { at: vec![0.0, 1.0], values: vec![0.5, 0.25] });
        assert_eq!(curves["cascade_rank"].at, [1.0, 2.0]);
        assert!(of(None, None).is_empty());
    }
}
