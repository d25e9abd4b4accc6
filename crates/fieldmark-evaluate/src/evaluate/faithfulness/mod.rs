//! Does the model's answer depend on what a map points at? Pixels are removed in the map's order, and the model is
//! asked again.
//!
//! All of it happens at the model's input: a map is resampled to it (bilinear), its pixels are ranked by the signed
//! value, and removed ones get the colour of a [`Fill`]. Pixels of equal value are taken row by row from the top
//! left, and those that the map does not cover come last; the least relevant first is the reverse of that order. So
//! a map gives the same numbers on every machine, and a flat map removes the photo from top to bottom.

mod changes;
mod options;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

pub use options::{Faithfulness, Fill, Order, PRESETS, Preset, Score, Space};

use super::Metric;
use crate::metric::{
    area_under_curve, average_drop, average_increase, count_of, relative_confidence_drop,
    road::{PERCENTILES, removed_at},
};
use changes::{Canvas, Change, Ranking};
use fieldmark_explain::{
    attribution::ConceptMap,
    explain::Explainer,
    explain::Settings,
    explain::{Embedding, ModelInput, Prompts},
};
use fieldmark_model::{embed::probabilities, error::Result, model::config::ProbabilityKind, photo::Photo};

/// A photo whose pixels can be removed: what all maps of it have in common. The photo as it is and pictures of nothing
/// but a fill are seen once, however many maps are measured.
pub struct FaithfulnessTest<'e> {
    explainer: &'e Explainer,
    input: ModelInput<'e>,
    canvas: Canvas,
    options: Faithfulness,
    /// The pictures that are the same for every map.
    seen: Mutex<BTreeMap<Change, Embedding>>,
}

/// What was measured of one map.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Faithful {
    /// The metrics that were asked for, in the order of the list; none where one has no meaning.
    pub marks: Vec<(Metric, Option<f64>)>,
    /// The score while pixels are removed; empty where it was not asked for or has no meaning.
    pub deletion: Curve,
    /// The score while pixels are put in.
    pub insertion: Curve,
    /// The change of the score while ROAD removes the most relevant pixels.
    pub road_most_first: Curve,
    /// The same for the least relevant ones.
    pub road_least_first: Curve,
}

/// A score that changes with the share of pixels.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Curve {
    /// Shares of the pixels, 0 to 1, rising.
    pub shares: Vec<f64>,
    /// The score there.
    pub scores: Vec<f64>,
}

/// What the model says of one changed picture.
struct Answer {
    score: f64,
    /// The target's first.
    probabilities: Vec<f64>,
}

impl<'e> FaithfulnessTest<'e> {
    /// Makes a photo ready; of the settings, fit and detail count.
    ///
    /// # Errors
    /// As [`Faithfulness::check`] and [`Explainer::input`].
    pub fn new(
        explainer: &'e Explainer,
        photo: &Photo,
        settings: &Settings,
        options: &Faithfulness,
    ) -> Result<Self> {
        options.check()?;
        let input = explainer.input(photo, settings)?;
        let canvas = Canvas::new(&input, options);
        Ok(Self { explainer, input, canvas, options: options.clone(), seen: Mutex::default() })
    }

    /// Measures one map of the photo, which is about the first of the prompts; the others are its rivals.
    ///
    /// A map costs a pass for every point of a curve but its ends, one for each relative drop that is not such a
    /// point, 18 for ROAD and one for average drop and increase together.
    ///
    /// # Errors
    /// If an embedding is not finite.
    pub fn measure(&self, map: &ConceptMap, prompts: &Prompts) -> Result<Faithful> {
        let asked = || Metric::ALL.iter().copied().filter(|metric| self.options.metrics.contains(metric));
        if !self.has_meaning(prompts) {
            return Ok(Faithful {
                marks: asked().map(|metric| (metric, None)).collect(),
                ..Faithful::default()
            });
        }
        let ranking = self.canvas.rank(map);
        let wanted: BTreeSet<Change> = asked()
            .flat_map(|metric| self.changes(metric, ranking.units))
            .map(|(_, change)| change)
            .collect();
        let answers = self.answers(&wanted, &ranking, prompts)?;
        let curve = |metric: Metric| {
            if self.options.metrics.contains(&metric) {
                self.curve(metric, ranking.units, &answers)
            } else {
                Curve::default()
            }
        };
        Ok(Faithful {
            marks: asked().map(|metric| (metric, self.mark(metric, ranking.units, &answers))).collect(),
            deletion: curve(Metric::DeletionAuc),
            insertion: curve(Metric::InsertionAuc),
            road_most_first: curve(Metric::RoadMostFirst),
            road_least_first: curve(Metric::RoadLeastFirst),
        })
    }

    /// A softmax over the target alone is 1, even with patches removed.
    fn has_meaning(&self, prompts: &Prompts) -> bool {
        let kind = self.explainer.model().config().probability;
        self.options.score != Score::Probability || kind == ProbabilityKind::Sigmoid || prompts.count() > 1
    }

    /// The changed pictures that a metric asks about, each with the share of the units that were changed.
    fn changes(&self, metric: Metric, units: usize) -> Vec<(f64, Change)> {
        let Faithfulness { fill, insertion_fill, order, .. } = self.options;
        let share = |count: usize| count as f64 / units.max(1) as f64;
        let top = |share: f64| {
            let count = count_of(share, units);
            vec![(0.0, Change::Unchanged), (share, Change::filling(fill, Order::MostFirst, count, units))]
        };
        let road = |order: Order| {
            let counts = PERCENTILES.iter().rev().map(|percentile| removed_at(*percentile, units));
            let changes = counts.map(|count| (share(count), Change::Imputed { order, count }));
            std::iter::once((0.0, Change::Unchanged)).chain(changes).collect()
        };
        let counts = self.counts(units).into_iter();
        match metric {
            Metric::ConfidenceDrop5 => top(0.05),
            Metric::ConfidenceDrop10 => top(0.1),
            Metric::DeletionAuc => {
                counts.map(|count| (share(count), Change::filling(fill, order, count, units))).collect()
            }
            // What is put in first is what is not filled last.
            Metric::InsertionAuc => {
                let change = |count| Change::filling(insertion_fill, order.opposite(), units - count, units);
                counts.map(|count| (share(count), change(count))).collect()
            }
            Metric::AverageDrop | Metric::AverageIncrease => {
                vec![(0.0, Change::Unchanged), (1.0, Change::Through(fill))]
            }
            Metric::RoadMostFirst => road(Order::MostFirst),
            Metric::RoadLeastFirst => road(Order::LeastFirst),
            Metric::RoadCombined => [road(Order::MostFirst), road(Order::LeastFirst)].concat(),
            _ => Vec::new(),
        }
    }

    /// How many units are changed at each point of a curve.
    fn counts(&self, units: usize) -> Vec<usize> {
        let (step, last) = (count_of(self.options.step, units).max(1), count_of(self.options.until, units));
        (0..last).step_by(step).chain(std::iter::once(last)).collect()
    }

    /// What the model says of each of these pictures.
    fn answers(
        &self,
        wanted: &BTreeSet<Change>,
        ranking: &Ranking,
        prompts: &Prompts,
    ) -> Result<BTreeMap<Change, Answer>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_photo, of_map): (Vec<_>, Vec<_>) = wanted.iter().partition(|change| change.is_of_photo());
        let new: Vec<Change> = of_photo.into_iter().filter(|change| !seen.contains_key(change)).collect();
        // Apart, because a product's last digits depend on what else is in the batch, and a map's numbers must not
        // depend on which map came before it.
        let embed =
            |changes: &[Change]| self.input.embed(changes, |change| self.canvas.picture(*change, ranking));
        let embeddings = embed(&new)?;
        seen.extend(new.into_iter().zip(embeddings));
        let embeddings = embed(&of_map)?;
        let known = seen.iter().filter(|(change, _)| wanted.contains(change));
        let known = known.map(|(change, embedding)| (*change, embedding));
        let all = known.chain(of_map.iter().copied().zip(&embeddings));
        all.map(|(change, embedding)| Ok((change, self.answer(embedding, prompts)?))).collect()
    }

    fn answer(&self, embedding: &Embedding, prompts: &Prompts) -> Result<Answer> {
        let scores = self.explainer.scores(embedding, prompts)?;
        let probabilities = probabilities(&scores.logits, self.explainer.model().config().probability);
        let score = match self.options.score {
            Score::Probability => &probabilities,
            Score::Logit => &scores.logits,
            Score::Similarity => &scores.similarities,
        };
        Ok(Answer { score: score.first().copied().unwrap_or(f64::NAN), probabilities })
    }

    /// A metric's pictures as a curve; ROAD's is of the change.
    fn curve(&self, metric: Metric, units: usize, answers: &BTreeMap<Change, Answer>) -> Curve {
        let changes = self.changes(metric, units);
        let zero = match (metric, answers.get(&Change::Unchanged)) {
            (Metric::RoadMostFirst | Metric::RoadLeastFirst, Some(unchanged)) => unchanged.score,
            _ => 0.0,
        };
        let points =
            changes.iter().filter_map(|(share, change)| Some((*share, answers.get(change)?.score - zero)));
        let (shares, scores) = points.unzip();
        Curve { shares, scores }
    }

    fn mark(&self, metric: Metric, units: usize, answers: &BTreeMap<Change, Answer>) -> Option<f64> {
        // The picture before and the one after.
        let both = || {
            let changes = self.changes(metric, units);
            let [(_, before), (_, after)] = changes.as_slice() else { return None };
            Some((answers.get(before)?, answers.get(after)?))
        };
        let road = |metric| {
            // The first point is the photo as it is.
            let curve = self.curve(metric, units, answers);
            let changes = curve.scores.get(1..).filter(|changes| !changes.is_empty())?;
            Some(changes.iter().sum::<f64>() / changes.len() as f64)
        };
        match metric {
            Metric::ConfidenceDrop5 | Metric::ConfidenceDrop10 => {
                let (before, after) = both()?;
                relative_confidence_drop(&before.probabilities, &after.probabilities)
            }
            Metric::DeletionAuc | Metric::InsertionAuc => {
                let curve = self.curve(metric, units, answers);
                area_under_curve(&curve.shares, &curve.scores)
            }
            Metric::AverageDrop => both().and_then(|(before, after)| average_drop(before.score, after.score)),
            Metric::AverageIncrease => {
                both().and_then(|(before, after)| average_increase(before.score, after.score))
            }
            Metric::RoadMostFirst | Metric::RoadLeastFirst => road(metric),
            Metric::RoadCombined => {
                Some((road(Metric::RoadLeastFirst)? - road(Metric::RoadMostFirst)?) / 2.0)
            }
            _ => None,
        }
    }
}
