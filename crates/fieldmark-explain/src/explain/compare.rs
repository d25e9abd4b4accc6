//! Many prompts on one photo: a ranking of all, maps of some, and the difference of every pair of these, all from one pass
//! through the vision tower.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    attribution::ConceptMap,
    objective::{Strength, Unit},
    prompt::same_words,
    regions,
    report::{Compared, Comparison, Pair, Ranked, Score},
    verdict::Presence,
};
use fieldmark_model::{
    embed::{Scores, probabilities},
    error::{Error, Result},
    model::config::ProbabilityKind,
    photo::Photo,
};

use super::{
    Compare, CompareQuery, Explainer, Pairs, PhotoSession, Settings, Stopwatch, evidence, ignoring_prompts,
    judged,
    passes::{PassMaps, PassRequest},
    places,
    plan::{Plan, PromptWeights},
    refuse_repeated,
    tower_pass::{PassOptions, TowerPass},
    unknown_words,
};

/// The most prompts that are compared in pairs: four thousand maps.
const MOST_IN_PAIRS: usize = 64;

/// Maps of pairs that are made at once where they cannot be subtracted.
const PAIR_BATCH: usize = 64;

impl Explainer {
    /// Scores and maps of several prompts. At strength 0 every map is plain; above, each prompt is contrasted
    /// with all the others.
    ///
    /// # Errors
    /// If there is no prompt, one is empty or there twice, or a setting is not one of the checkpoint's.
    pub fn compare(&self, photo: &Photo, prompts: &[String], settings: &Settings) -> Result<Compare> {
        PhotoSession::new(self, photo).compare(prompts, settings)
    }

    /// Scores of many prompts, and maps of those that were asked for and of the best of the others. At strength 0
    /// every map is plain; above, each prompt is contrasted with all the others, those without a map included.
    ///
    /// # Errors
    /// As [`compare`](Self::compare), or if pairs are asked of more than 64 prompts with maps.
    pub fn rank(&self, photo: &Photo, lineup: &CompareQuery, settings: &Settings) -> Result<Compare> {
        Ok(self.rank_all(photo, lineup, std::slice::from_ref(settings))?.remove(0))
    }

    /// [`rank`](Self::rank) with several settings in turn, several methods for instance. Those that see the photo alike
    /// share one pass through the vision tower.
    ///
    /// # Errors
    /// As [`rank`](Self::rank), if any of them fails.
    pub fn rank_all(
        &self,
        photo: &Photo,
        lineup: &CompareQuery,
        settings: &[Settings],
    ) -> Result<Vec<Compare>> {
        self.rank_looks(&mut PhotoSession::new(self, photo), lineup, settings)
    }

    pub(super) fn rank_looks(
        &self,
        session: &mut PhotoSession,
        lineup: &CompareQuery,
        settings: &[Settings],
    ) -> Result<Vec<Compare>> {
        // Errors are reported before the first of many passes.
        let names = names(lineup)?;
        let plans: Result<Vec<_>> = settings.iter().map(|settings| Plan::new(self, settings)).collect();
        let each = plans?.into_iter().zip(settings);
        each.map(|(plan, settings)| self.rank_with(session, (lineup, &names), settings, plan)).collect()
    }

    fn rank_with(
        &self,
        session: &mut PhotoSession,
        (lineup, names): (&CompareQuery, &[&str]),
        settings: &Settings,
        plan: Plan<'_>,
    ) -> Result<Compare> {
        let mut clock = Stopwatch::start();
        let asked = self.with_neutral(names.to_vec());
        let (texts, mut warnings) = self.texts.embed(self.model(), &asked, &settings.templates)?;
        let extra = self.texts.embed_extra(self.model(), plan.method, &settings.templates)?;
        warnings.extend(ignoring_prompts(plan.method, names.len()));
        let text = clock.lap();
        let photo = &*session.photo.clone();
        let (view, pass) = session.of(settings, &plan)?;
        clock.lap();
        let kind = self.model.config().probability;
        let scored = ScoredPrompts::new(names.to_vec(), texts, pass, kind)?;
        let context =
            MapContext { explainer: self, photo, plan: &plan, settings, view, pass, extra: extra.as_ref() };
        let mapped = scored.mapped(lineup)?;
        let mix = |logits: &[f64], target| PromptWeights::new(&plan, logits, target, settings);
        let mixes = |logits: &[f64]| mapped.iter().map(|target| mix(logits, *target).weights).collect();
        let seen = context.see(&scored, &mapped, &mixes)?;
        let setup = plan.in_force(seen.setup, names.len(), settings.strength);
        // A probability is no fixed mix of prompts, so that nothing can be recombined after the fact.
        let is_mix = plan.objective.unit(2, Strength::new(1.0)?) == Unit::Logits;
        let plain = match settings.strength.get() {
            _ if !plan.is_linear() || !is_mix => None,
            0.0 => Some(seen.maps.clone()),
            _ => Some(scored.plain_maps(&mapped, &context)?),
        };
        let pairs = match (lineup.pairs, &plain) {
            (Pairs::None, _) => Vec::new(),
            (Pairs::All, Some(plain)) => subtracted_pairs(plain),
            (Pairs::All, None) => scored.contrasted_pairs(&mapped, &context)?,
        };
        let places = places(&seen.maps, &setup, photo);
        let unknown: Result<Vec<_>> =
            mapped.iter().map(|prompt| self.model.unknown_words(names[*prompt])).collect();
        let unknown = unknown?;
        let each = mapped.iter().zip(&unknown);
        warnings.extend(each.filter_map(|(prompt, unknown)| unknown_words(names[*prompt], unknown)));
        let presence = |index: usize| match unknown[index].as_slice() {
            [] => self.presence(&scored.scores, mapped[index], names.len()),
            _ => Presence::Unknown,
        };
        let compared = places.into_iter().zip(&seen.maps).enumerate().map(|(index, (place, map))| Compared {
            score: scored.score(mapped[index]),
            unknown_words: unknown[index].clone(),
            best_tile: judged(seen.best_tiles[index], &unknown[index]),
            objective: mix(scored.logits(), mapped[index]).value,
            evidence: evidence(map, presence(index)),
            place,
            files: Default::default(),
        });
        let report = Comparison {
            image: photo.path().into(),
            image_size: [photo.size().width, photo.size().height],
            model: self.name().into(),
            model_bytes: self.name_bytes().map(str::to_owned),
            probability_kind: kind,
            prompts: compared.collect(),
            ranking: scored.ranking(),
            matrix: scored.matrix(&mapped, &pairs),
            setup,
            scale: None,
            files: Default::default(),
            seconds: pass.seconds.and_tower(&seen.seconds).with(text, clock.lap() - seen.seconds.tower()),
            concepts: lineup.used(),
            origin: self.origin.clone(),
        };
        let measures = plan.method.facts().measures;
        Ok(Compare { report, maps: seen.maps, plain, pairs, warnings, measures })
    }
}

/// What maps of one comparison have in common.
struct MapContext<'a> {
    explainer: &'a Explainer,
    photo: &'a Photo,
    plan: &'a Plan<'a>,
    settings: &'a Settings,
    view: &'a PassOptions,
    pass: &'a TowerPass<'a>,
    extra: Option<&'a Tensor>,
}

impl MapContext<'_> {
    /// The maps of mixes of a board's names; each is about one of them.
    fn see(
        &self,
        scored: &ScoredPrompts,
        targets: &[usize],
        mixes: &dyn Fn(&[f64]) -> Vec<Vec<f64>>,
    ) -> Result<PassMaps> {
        let Self { plan, settings, view, extra, .. } = *self;
        let (texts, competing) = (&scored.all_texts, scored.names.len());
        let task = PassRequest { plan, settings, view, texts, extra, competing, targets, mixes };
        self.explainer.see(self.photo, self.pass, &task)
    }
}

/// All that competes: the prompts, then the concepts that are none of them.
fn names(lineup: &CompareQuery) -> Result<Vec<&str>> {
    refuse_repeated(&lineup.prompts)?;
    refuse_repeated(&lineup.concepts)?;
    let is_new = |concept: &&String| !lineup.prompts.iter().any(|prompt| same_words(prompt, concept));
    let concepts = lineup.concepts.iter().filter(is_new);
    let names: Vec<&str> = lineup.prompts.iter().chain(concepts).map(String::as_str).collect();
    if names.is_empty() {
        let reason = "expected at least one, found none".into();
        return Err(Error::Option { option: "prompts", reason });
    }
    Ok(names)
}

/// What competes on one photo, and its scores.
struct ScoredPrompts<'n> {
    names: Vec<&'n str>,
    /// The names' texts, and the neutral prompt's where the verdict needs it: [texts, embedding].
    all_texts: Tensor,
    scores: Scores,
    probabilities: Vec<f64>,
    /// Indices of names, the highest logit first.
    order: Vec<usize>,
}

impl<'n> ScoredPrompts<'n> {
    fn new(names: Vec<&'n str>, all_texts: Tensor, pass: &TowerPass, kind: ProbabilityKind) -> Result<Self> {
        let scores = pass.scores(&all_texts)?;
        let logits = &scores.logits[..names.len()];
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]));
        let probabilities = probabilities(logits, kind);
        Ok(Self { names, all_texts, scores, probabilities, order })
    }

    fn logits(&self) -> &[f64] {
        &self.scores.logits[..self.names.len()]
    }

    /// The prompts that were asked for, then the best of the concepts. Too many are refused if all their pairs count.
    fn mapped(&self, lineup: &CompareQuery) -> Result<Vec<usize>> {
        let prompts = lineup.prompts.len();
        let best = self.order.iter().copied().filter(|index| *index >= prompts).take(lineup.top);
        let mapped: Vec<usize> = (0..prompts).chain(best).collect();
        if lineup.pairs == Pairs::None || mapped.len() <= MOST_IN_PAIRS {
            return Ok(mapped);
        }
        let reason = format!("expected at most {MOST_IN_PAIRS} prompts with a map, found {}", mapped.len());
        Err(Error::Option { option: "matrix", reason })
    }

    fn score(&self, index: usize) -> Score {
        Score {
            prompt: self.names[index].into(),
            similarity: self.scores.similarities[index],
            logit: self.scores.logits[index],
            probability: self.probabilities[index],
        }
    }

    fn ranking(&self) -> Vec<Ranked> {
        let ranked = |(place, index): (usize, &usize)| Ranked { rank: place + 1, score: self.score(*index) };
        self.order.iter().enumerate().map(ranked).collect()
    }

    /// The maps of some prompts alone.
    fn plain_maps(&self, mapped: &[usize], context: &MapContext) -> Result<Vec<ConceptMap>> {
        let rows = |_: &[f64]| mapped.iter().map(|one| self.weights(&[(*one, 1.0)])).collect();
        Ok(context.see(self, mapped, &rows)?.maps)
    }

    /// The maps of every pair's contrast, for methods whose maps cannot be subtracted.
    fn contrasted_pairs(&self, mapped: &[usize], context: &MapContext) -> Result<Vec<ConceptMap>> {
        let mut maps = Vec::new();
        for batch in pairs(mapped.len()).chunks(PAIR_BATCH) {
            let targets: Vec<usize> = batch.iter().map(|(one, _)| mapped[*one]).collect();
            let row =
                |(one, other): &(usize, usize)| self.weights(&[(mapped[*one], 1.0), (mapped[*other], -1.0)]);
            let rows = |_: &[f64]| batch.iter().map(row).collect();
            maps.extend(context.see(self, &targets, &rows)?.maps);
        }
        Ok(maps)
    }

    /// A mix of the names, most of which do not count.
    fn weights(&self, counting: &[(usize, f64)]) -> Vec<f64> {
        let mut weights = vec![0.0; self.names.len()];
        counting.iter().for_each(|(index, weight)| weights[*index] = *weight);
        weights
    }

    /// What there is to say of every pair; `maps` are theirs, or none.
    fn matrix(&self, mapped: &[usize], maps: &[ConceptMap]) -> Vec<Pair> {
        let compared = pairs(mapped.len()).into_par_iter().zip(maps).map(|((one, other), map)| {
            let (one, other) = (mapped[one], mapped[other]);
            Pair {
                prompt: self.names[one].into(),
                against: self.names[other].into(),
                difference: self.scores.logits[one] - self.scores.logits[other],
                positive: map.positive(),
                peak: regions::peak(map),
            }
        });
        compared.collect()
    }
}

/// Every one of `count` and every other, row by row.
fn pairs(count: usize) -> Vec<(usize, usize)> {
    let all = (0..count).flat_map(|one| (0..count).map(move |other| (one, other)));
    all.filter(|(one, other)| one != other).collect()
}

/// The maps of every pair's contrast, where they are the differences of plain maps.
fn subtracted_pairs(plain: &[ConceptMap]) -> Vec<ConceptMap> {
    pairs(plain.len()).into_iter().map(|(one, other)| plain[one].plus(-1.0, &plain[other])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtracted_maps_are_those_of_the_contrast() -> Result<()> {
        let explainer = Explainer::load("../../tests/fixtures/models/tiny-gelu")?;
        let photo = Photo::open("../../tests/fixtures/photos/shapes-96x64.png")?;
        let settings = Settings::default();
        let plan = Plan::new(&explainer, &settings)?;
        let mut session = PhotoSession::new(&explainer, &photo);
        let (view, pass) = session.of(&settings, &plan)?;
        let (explainer, photo, plan, settings) = (&explainer, &photo, &plan, &settings);
        let context = MapContext { explainer, photo, plan, settings, view, pass, extra: None };
        let names = vec!["reed", "crow", "marsh wren"];
        let asked = explainer.with_neutral(names.clone());
        let (texts, _) = explainer.texts.embed(explainer.model(), &asked, &settings.templates)?;
        let scored = ScoredPrompts::new(names, texts, pass, ProbabilityKind::Softmax)?;
        let subtracted = subtracted_pairs(&scored.plain_maps(&[2, 0], &context)?);
        let contrasted = scored.contrasted_pairs(&[2, 0], &context)?;
        assert_eq!((subtracted.len(), contrasted.len()), (2, 2));
        for (one, other) in subtracted.iter().zip(&contrasted) {
            let close = |(one, other): (&f32, &f32)| (one - other).abs() < 1e-4 * subtracted[0].max_abs();
            assert!(one.values().iter().zip(other.values()).all(close));
        }
        assert_eq!(pairs(3), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
        Ok(())
    }
}
