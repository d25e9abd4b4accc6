//! Does a map depend on the question, and on what the model learnt? A map that stays the same when the prompt or the
//! weights are replaced explains neither (Adebayo et al., NeurIPS 2018, arXiv 1810.03292).
//!
//! Two maps are compared on their own grid, signs and all: larger pictures of them would be alike by interpolation
//! alone. The less they have in common, the better, down to 0; maps that are each other's negative have much in
//! common.

mod prompts;

use serde::{Deserialize, Serialize};

use super::{Group, Metric};
use crate::metric::{rank_correlation, ssim};
use fieldmark_explain::{attribution::ConceptMap, explain::Explainer, explain::Query};
use fieldmark_model::{
    error::{Error, Result},
    photo::Photo,
};
use prompts::{another_concept, gibberish, shuffled_words};

/// How sanity is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Sanity {
    /// How many of the last blocks have their weights shuffled, one cascade stage each. Empty: every number from 1
    /// to all. A stage costs a pass through the tower for every photo.
    pub blocks: Vec<usize>,
    /// What other prompts and shuffled weights follow from.
    pub seed: u64,
}

fieldmark_model::setters!(Sanity {
    blocks: Vec<usize>,
    seed: u64,
});

impl Default for Sanity {
    fn default() -> Self {
        Self { blocks: Vec::new(), seed: 1 }
    }
}

/// A checkpoint, and its copies in which more and more blocks are randomised.
pub struct SanityTest<'e> {
    explainer: &'e Explainer,
    seed: u64,
    /// By the number of blocks whose weights are shuffled, rising.
    cascade: Vec<(usize, Explainer)>,
}

/// What two maps have in common, on their grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Likeness {
    /// Spearman's rank correlation, -1 to 1; none where a map is flat.
    pub rank: Option<f64>,
    /// The structural similarity, -1 to 1; none where the grid has fewer than three rows or columns.
    pub ssim: Option<f64>,
}

/// What was measured of one map.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sane {
    /// Every metric of sanity; none where one has no meaning.
    pub marks: Vec<(Metric, Option<f64>)>,
    /// By the number of the last blocks whose weights are shuffled, rising.
    pub cascade: Vec<(usize, Likeness)>,
}

/// The prompts that take the target's place.
const REPLACEMENTS: usize = 3;

impl Likeness {
    /// Of two maps on one grid.
    ///
    /// # Panics
    /// If their grids have different numbers of cells.
    pub fn of(one: &ConceptMap, other: &ConceptMap) -> Self {
        let (one, other, columns) = (one.values(), other.values(), one.grid().columns);
        Self { rank: rank_correlation(one, other), ssim: ssim(one, other, columns) }
    }
}

impl<'e> SanityTest<'e> {
    /// Shuffles the weights of the checkpoint's blocks, from the last one down ([`Explainer::cascade`]). All stages
    /// together need the memory of one more vision tower.
    ///
    /// # Errors
    /// If a number of blocks is 0 or larger than the checkpoint's.
    pub fn new(explainer: &'e Explainer, options: &Sanity) -> Result<Self> {
        let layers = explainer.model().config().vision.tower.layers;
        if let Some(wrong) = options.blocks.iter().find(|blocks| !(1..=layers).contains(*blocks)) {
            let reason = format!("expected 1 to {layers}, found {wrong}");
            return Err(Error::Option { option: "sanity blocks", reason });
        }
        let is_asked = |blocks: &usize| options.blocks.is_empty() || options.blocks.contains(blocks);
        let stages = (1..).zip(explainer.cascade(options.seed)?);
        let cascade = stages.filter(|(blocks, _)| is_asked(blocks)).collect();
        Ok(Self { explainer, seed: options.seed, cascade })
    }

    /// Measures maps of one photo, each with the query that it answers; they share one pass through the tower with
    /// all other prompts, and one a stage. Rivals should be given by name, for those that are found on the photo may be
    /// others in another model. Another concept is one of `concepts`; where there is none that is neither the target
    /// nor a rival, it has no meaning.
    ///
    /// # Errors
    /// As [`Explainer::localize_all`].
    pub fn measure(
        &self,
        photo: &Photo,
        asked: &[(&Query, &ConceptMap)],
        concepts: &[String],
    ) -> Result<Vec<Sane>> {
        let queries: Vec<Query> = asked.iter().map(|(query, _)| (*query).clone()).collect();
        let prompts: Vec<_> = queries.iter().map(|query| self.replacements(query, concepts)).collect();
        let replaced = self.replaced(photo, asked, &prompts)?;
        let mut cascades = vec![Vec::with_capacity(self.cascade.len()); asked.len()];
        for (blocks, explainer) in &self.cascade {
            let found = explainer.localize_all(photo, &queries)?;
            for ((cascade, (_, map)), found) in cascades.iter_mut().zip(asked).zip(found) {
                cascade.push((*blocks, Likeness::of(map, &found.map)));
            }
        }
        Ok(replaced.iter().zip(cascades).map(|(replaced, cascade)| self.sane(replaced, cascade)).collect())
    }

    fn replacements(&self, query: &Query, concepts: &[String]) -> [Option<String>; REPLACEMENTS] {
        let seed = self.seed;
        [another_concept(query, concepts, seed), shuffled_words(query, seed), gibberish(query, seed)]
    }

    /// What every map has in common with those of the prompts that take its target's place.
    fn replaced(
        &self,
        photo: &Photo,
        asked: &[(&Query, &ConceptMap)],
        prompts: &[[Option<String>; REPLACEMENTS]],
    ) -> Result<Vec<[Option<Likeness>; REPLACEMENTS]>> {
        let with = |query: &Query, target: &String| query.clone().with_target(target.clone());
        let pairs = asked.iter().zip(prompts);
        let queries: Vec<Query> = pairs
            .flat_map(|((query, _), prompts)| prompts.iter().flatten().map(|prompt| with(query, prompt)))
            .collect();
        let mut found = self.explainer.localize_all(photo, &queries)?.into_iter();
        let likeness = |((_, map), prompts): (&(&Query, &ConceptMap), &[Option<String>; REPLACEMENTS])| {
            prompts.each_ref().map(|prompt| {
                let found = prompt.as_ref().and_then(|_| found.next())?;
                Some(Likeness::of(map, &found.map))
            })
        };
        Ok(asked.iter().zip(prompts).map(likeness).collect())
    }

    fn sane(&self, replaced: &[Option<Likeness>; REPLACEMENTS], cascade: Vec<(usize, Likeness)>) -> Sane {
        let layers = self.explainer.model().config().vision.tower.layers;
        let stage = |wanted: usize| {
            cascade.iter().find(|(blocks, _)| *blocks == wanted).map(|(_, likeness)| *likeness)
        };
        let [other, shuffled, gibberish] = *replaced;
        let (last, all) = (stage(1), stage(layers));
        let rank = |likeness: Option<Likeness>| likeness?.rank;
        let ssim = |likeness: Option<Likeness>| likeness?.ssim;
        let mark = |metric: Metric| match metric {
            Metric::OtherConceptRank => rank(other),
            Metric::OtherConceptSsim => ssim(other),
            Metric::ShuffledWordsRank => rank(shuffled),
            Metric::ShuffledWordsSsim => ssim(shuffled),
            Metric::GibberishRank => rank(gibberish),
            Metric::GibberishSsim => ssim(gibberish),
            Metric::LastBlockRandomRank => rank(last),
            Metric::LastBlockRandomSsim => ssim(last),
            Metric::AllBlocksRandomRank => rank(all),
            Metric::AllBlocksRandomSsim => ssim(all),
            _ => None,
        };
        let sanity = Metric::ALL.iter().copied().filter(|metric| metric.group() == Group::Sanity);
        Sane { marks: sanity.map(|metric| (metric, mark(metric))).collect(), cascade }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHOTO: &str = "../../tests/fixtures/photos/shapes-96x64.png";

    fn mark(sane: &Sane, metric: Metric) -> Option<f64> {
        sane.marks.iter().find(|(other, _)| *other == metric)?.1
    }

    #[test]
    fn maps_break_with_the_weights_and_change_with_the_prompt() -> Result<()> {
        let explainer = Explainer::load("miniature")?;
        let photo = Photo::open(PHOTO)?;
        let query = Query::new("red-winged blackbird shoulder").against(["yellow-winged blackbird shoulder"]);
        let map = explainer.localize(&photo, &query)?.map;
        let test = SanityTest::new(&explainer, &Sanity::default())?;
        let concepts = ["rusty blackbird".to_owned()];
        let measured = test.measure(&photo, &[(&query, &map), (&query, &map)], &concepts)?;
        assert_eq!(measured[0], measured[1]);
        let layers = explainer.model().config().vision.tower.layers;
        let stages: Vec<usize> = measured[0].cascade.iter().map(|(blocks, _)| *blocks).collect();
        assert_eq!(stages, (1..=layers).collect::<Vec<_>>());
        for (metric, value) in &measured[0].marks {
            // The miniature knows its names word by word: their order says next to nothing to it.
            let is_order = matches!(metric, Metric::ShuffledWordsRank | Metric::ShuffledWordsSsim);
            let most = if is_order { 0.999_99 } else { 0.99 };
            assert!(value.is_some_and(|value| value < most), "{metric}: {value:?}");
        }
        assert_eq!(mark(&measured[0], Metric::LastBlockRandomRank), measured[0].cascade[0].1.rank);
        // What was shuffled is a copy.
        assert_eq!(explainer.localize(&photo, &query)?.map, map);
        let again = SanityTest::new(&explainer, &Sanity::default())?;
        assert_eq!(again.measure(&photo, &[(&query, &map)], &concepts)?[0], measured[0]);
        Ok(())
    }

    #[test]
    fn what_has_no_meaning_is_none() -> Result<()> {
        let explainer = Explainer::load("miniature")?;
        let photo = Photo::open(PHOTO)?;
        let query = Query::new("blackbird");
        let map = explainer.localize(&photo, &query)?.map;
        let test = SanityTest::new(&explainer, &Sanity { blocks: vec![1], seed: 1 })?;
        let measured = test.measure(&photo, &[(&query, &map)], &[])?.remove(0);
        for metric in [Metric::OtherConceptRank, Metric::ShuffledWordsSsim, Metric::AllBlocksRandomRank] {
            assert_eq!(mark(&measured, metric), None, "{metric}");
        }
        assert!(mark(&measured, Metric::GibberishRank).is_some());
        assert!(mark(&measured, Metric::LastBlockRandomSsim).is_some());
        let wrong = SanityTest::new(&explainer, &Sanity { blocks: vec![99], seed: 1 });
        assert!(
            wrong.err().is_some_and(|error| error.to_string().starts_with("sanity blocks: expected 1 to"))
        );
        Ok(())
    }

    #[test]
    fn a_map_has_everything_in_common_with_itself() -> Result<()> {
        let explainer = Explainer::load("miniature")?;
        let map = explainer.localize(&Photo::open(PHOTO)?, &Query::new("a bird"))?.map;
        let likeness = Likeness::of(&map, &map);
        assert!(likeness.rank.is_some_and(|rank| (rank - 1.0).abs() < 1e-12));
        assert!(likeness.ssim.is_some_and(|ssim| (ssim - 1.0).abs() < 1e-12));
        Ok(())
    }
}
