//! Many prompts on one photo: a ranking of all, maps of some, and every pair of these told apart, all from one pass
//! through the vision tower.

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    attribution::ConceptMap,
    embed::{Scores, softmax},
    error::{Error, Result},
    photo::Photo,
    prompt::same_words,
    regions,
    report::{Compared, Comparison, Pair, Place, Ranked, Score, Seconds},
};

use super::{
    Clock, Compare, Explainer, Lineup, Pairs, Settings, evidence,
    look::Look,
    plan::{Mix, Plan},
    refuse_repeated,
};

/// The most prompts of which every pair is told apart: four thousand maps.
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
        self.rank(photo, &Lineup { prompts: prompts.to_vec(), ..Lineup::default() }, settings)
    }

    /// Scores of many prompts, and maps of those that were asked for and of the best of the others. At strength 0
    /// every map is plain; above, each prompt is contrasted with all the others, those without a map included.
    ///
    /// # Errors
    /// As [`compare`](Self::compare), or if pairs are asked of more than 64 prompts with maps.
    pub fn rank(&self, photo: &Photo, lineup: &Lineup, settings: &Settings) -> Result<Compare> {
        let names = names(lineup)?;
        let plan = Plan::new(self.model(), settings)?;
        let mut clock = Clock::start();
        let asked = self.with_neutral(names.clone());
        let (texts, warnings) = self.texts.embed(self.model(), &asked, &settings.templates)?;
        let text = clock.lap();
        let look = Look::new(self.model(), photo, settings, plan.layer, &mut clock)?;
        let board = Board::new(names, texts, &look)?;
        let mapped = board.mapped(lineup);
        refuse_too_many_pairs(lineup, mapped.len())?;
        let mixes: Vec<Mix> =
            mapped.iter().map(|target| Mix::new(&plan, board.logits(), *target, settings)).collect();
        let weights: Vec<Vec<f64>> = mixes.iter().map(|mix| mix.weights.clone()).collect();
        let maps = look.maps(plan.method, &board.texts()?, &weights)?;
        let (matrix, pairs) = match lineup.pairs {
            Pairs::None => Default::default(),
            Pairs::All if settings.strength.get() == 0.0 => {
                board.pairs(&mapped, Some(&maps), &plan, &look)?
            }
            Pairs::All => board.pairs(&mapped, None, &plan, &look)?,
        };
        // Peaks and regions are found at the photo's size: of many prompts they are the larger part of the work.
        let compared = maps.par_iter().enumerate().map(|(place, map)| Compared {
            score: board.score(mapped[place]),
            objective: mixes[place].value,
            evidence: evidence(map, self.presence(&board.scores, mapped[place], board.names.len())),
            place: Place::of(map),
            files: Default::default(),
        });
        let report = Comparison {
            image: photo.path().into(),
            image_size: [photo.size().width, photo.size().height],
            model: self.name().into(),
            prompts: compared.collect(),
            ranking: board.ranking(),
            matrix,
            setup: plan.setup.place(&look.placement),
            files: Default::default(),
            seconds: Seconds { text, head: clock.lap(), ..look.seconds },
        };
        Ok(Compare { report, maps, pairs, warnings })
    }
}

/// All that competes: the prompts, then the concepts that are none of them.
fn names(lineup: &Lineup) -> Result<Vec<&str>> {
    refuse_repeated(&lineup.prompts)?;
    refuse_repeated(&lineup.concepts)?;
    let is_new = |concept: &&String| !lineup.prompts.iter().any(|prompt| same_words(prompt, concept));
    let concepts = lineup.concepts.iter().filter(is_new);
    let names: Vec<&str> = lineup.prompts.iter().chain(concepts).map(String::as_str).collect();
    match names.is_empty() {
        true => {
            let reason = "expected at least one, found none".into();
            Err(Error::Option { option: "prompts", reason })
        }
        false => Ok(names),
    }
}

fn refuse_too_many_pairs(lineup: &Lineup, mapped: usize) -> Result<()> {
    if lineup.pairs == Pairs::None || mapped <= MOST_IN_PAIRS {
        return Ok(());
    }
    let reason = format!("expected at most {MOST_IN_PAIRS} prompts with a map, found {mapped}");
    Err(Error::Option { option: "matrix", reason })
}

/// What competes on one photo, and its scores.
struct Board<'n> {
    names: Vec<&'n str>,
    /// The names' texts, and the neutral prompt's where the verdict needs it: [texts, embedding].
    all_texts: Tensor,
    scores: Scores,
    probabilities: Vec<f64>,
    /// Indices of names, the highest logit first.
    order: Vec<usize>,
}

impl<'n> Board<'n> {
    fn new(names: Vec<&'n str>, all_texts: Tensor, look: &Look) -> Result<Self> {
        let scores = look.scores(&all_texts)?;
        let logits = &scores.logits[..names.len()];
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|one, other| logits[*other].total_cmp(&logits[*one]));
        let probabilities = softmax(logits);
        Ok(Self { names, all_texts, scores, probabilities, order })
    }

    fn logits(&self) -> &[f64] {
        &self.scores.logits[..self.names.len()]
    }

    fn texts(&self) -> Result<Tensor> {
        Ok(self.all_texts.narrow(0, 0, self.names.len())?)
    }

    /// The prompts that were asked for, then the best of the concepts.
    fn mapped(&self, lineup: &Lineup) -> Vec<usize> {
        let prompts = lineup.prompts.len();
        let best = self.order.iter().copied().filter(|index| *index >= prompts).take(lineup.top);
        (0..prompts).chain(best).collect()
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

    /// Every prompt with a map against every other, row by row. `plain`: their plain maps, where there are some.
    fn pairs(
        &self,
        mapped: &[usize],
        plain: Option<&[ConceptMap]>,
        plan: &Plan,
        look: &Look,
    ) -> Result<(Vec<Pair>, Vec<ConceptMap>)> {
        let all = (0..mapped.len()).flat_map(|one| (0..mapped.len()).map(move |other| (one, other)));
        let pairs: Vec<(usize, usize)> = all.filter(|(one, other)| one != other).collect();
        let row = |one: usize, other: Option<usize>| {
            let mut weights = vec![0.0; self.names.len()];
            weights[mapped[one]] = 1.0;
            other.into_iter().for_each(|other| weights[mapped[other]] = -1.0);
            weights
        };
        let texts = self.texts()?;
        let mut maps = Vec::with_capacity(pairs.len());
        if plan.is_linear() {
            let own = match plain {
                Some(plain) => plain.to_vec(),
                None => {
                    let rows: Vec<_> = (0..mapped.len()).map(|one| row(one, None)).collect();
                    look.maps(plan.method, &texts, &rows)?
                }
            };
            maps.extend(pairs.iter().map(|(one, other)| own[*one].plus(-1.0, &own[*other])));
        } else {
            for batch in pairs.chunks(PAIR_BATCH) {
                let rows: Vec<_> = batch.iter().map(|(one, other)| row(*one, Some(*other))).collect();
                maps.extend(look.maps(plan.method, &texts, &rows)?);
            }
        }
        let told = pairs.par_iter().zip(&maps).map(|((one, other), map)| {
            let (one, other) = (mapped[*one], mapped[*other]);
            Pair {
                prompt: self.names[one].into(),
                against: self.names[other].into(),
                difference: self.scores.logits[one] - self.scores.logits[other],
                positive: map.positive(),
                peak: regions::peak(map),
            }
        });
        Ok((told.collect(), maps))
    }
}
