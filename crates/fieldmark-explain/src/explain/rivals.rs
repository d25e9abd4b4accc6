//! The prompts that compete on a photo: the target, the rivals that were given, and those that are found.

use candle_core::Tensor;

use crate::{
    objective::references::{By, Choice, Chosen, PassedOver, choose},
    prompt::same_words,
    report::{Reference, RivalsUsed, Score},
};
use fieldmark_model::{
    embed::{Scores, probabilities},
    error::{Error, Result},
    model::config::ProbabilityKind,
};

use super::{Query, Rivals};

/// The target and its references.
#[derive(Clone)]
pub(super) struct Competitors {
    /// The target's prompt, then the references', each with why it was chosen.
    prompts: Vec<(String, Option<Chosen>)>,
    /// Their texts in the same order: [prompts, embedding].
    pub(super) texts: Tensor,
    /// What was taken for the target in other words.
    pub(super) passed_over: Vec<PassedOver>,
    /// How further references were looked for.
    pub(super) looked_for: Option<RivalsUsed>,
}

impl Competitors {
    /// Those that a query names; `texts`: [1 + references, embedding].
    pub(super) fn given(query: &Query, texts: Tensor) -> Self {
        let prompts = std::iter::once(&query.target).chain(&query.references);
        Self {
            prompts: prompts.map(|prompt| (prompt.clone(), None)).collect(),
            texts,
            passed_over: Vec::new(),
            looked_for: query.rivals.as_ref().map(Rivals::used),
        }
    }

    /// Adds those that were chosen among candidates.
    pub(super) fn add(&mut self, choice: Choice, candidates: &Candidates) -> Result<()> {
        let mut rows = vec![self.texts.clone()];
        for (index, rank) in choice.chosen {
            let chosen =
                Chosen { by: candidates.rivals.by, similarity: candidates.similarities[index], rank };
            self.prompts.push((candidates.prompts[index].to_owned(), Some(chosen)));
            rows.push(candidates.texts.narrow(0, index, 1)?);
        }
        self.texts = Tensor::cat(&rows, 0)?;
        self.passed_over = candidates.described(choice.passed_over);
        Ok(())
    }

    /// The target's score and the references', with their probabilities. `scores` begin with theirs.
    pub(super) fn scored(&self, scores: &Scores, kind: ProbabilityKind) -> (Score, Vec<Reference>) {
        let probabilities = probabilities(&scores.logits[..self.prompts.len()], kind);
        let score = |index: usize| Score {
            prompt: self.prompts[index].0.clone(),
            similarity: scores.similarities[index],
            logit: scores.logits[index],
            probability: probabilities[index],
        };
        let reference = |index: usize| Reference { score: score(index), chosen: self.prompts[index].1 };
        (score(0), (1..self.prompts.len()).map(reference).collect())
    }
}

/// What rivals are chosen from.
#[derive(Clone)]
pub(super) struct Candidates<'q> {
    rivals: &'q Rivals,
    prompts: Vec<&'q str>,
    /// [candidates, embedding]
    pub(super) texts: Tensor,
    /// The cosines of their texts with the target's.
    similarities: Vec<f64>,
}

impl<'q> Candidates<'q> {
    /// The concepts or groups that may become rivals; none if no rivals are to be found.
    pub(super) fn names(query: &'q Query) -> Result<Vec<&'q str>> {
        let Some(rivals) = &query.rivals else { return Ok(Vec::new()) };
        rivals.check()?;
        let list = &rivals.concepts;
        let mut names = match rivals.by {
            By::Group => list.groups_of(&query.target),
            By::Text | By::Image => list.candidates(&query.target),
        };
        let is_given = |name: &str| {
            let mut given = query.references.iter();
            given.any(|given| {
                same_words(given, name) || list.find(given).is_some_and(|known| same_words(&known.name, name))
            })
        };
        names.retain(|name| !is_given(name));
        match (names.is_empty(), rivals.by) {
            (false, _) => Ok(names),
            (true, By::Group) => Err(no_rival(format!("a group that {:?} belongs to", query.target))),
            (true, _) => Err(no_rival("a concept that is neither the target nor a rival already".into())),
        }
    }

    /// `texts` hold the candidates' after the competitors'; none if no rivals are to be found.
    pub(super) fn new(
        query: &'q Query,
        prompts: Vec<&'q str>,
        texts: &Tensor,
        given: &Competitors,
    ) -> Result<Option<Self>> {
        let Some(rivals) = &query.rivals else { return Ok(None) };
        let texts = texts.narrow(0, given.prompts.len(), prompts.len())?;
        let similarities = Scores::new(&given.texts.get(0)?, &texts, 1.0)?.similarities;
        let candidates = Self { rivals, prompts, texts, similarities };
        if candidates.choose_by_text().chosen.is_empty() {
            Err(no_rival(format!("a concept below the synonym threshold of {}", rivals.synonym_threshold)))
        } else {
            Ok(Some(candidates))
        }
    }

    /// The choice that needs no photo.
    pub(super) fn choose_by_text(&self) -> Choice {
        match self.rivals.by {
            By::Group => {
                let count = self.prompts.len().min(self.rivals.count);
                Choice { chosen: (0..count).map(|index| (index, index + 1)).collect(), ..Choice::default() }
            }
            By::Text | By::Image => self.choose_by(&self.similarities),
        }
    }

    /// The candidates with the highest scores, one a candidate.
    pub(super) fn choose_by(&self, scores: &[f64]) -> Choice {
        choose(scores, &self.similarities, self.rivals.count, self.rivals.synonym_threshold)
    }

    fn described(&self, passed_over: Vec<usize>) -> Vec<PassedOver> {
        let describe = |index: usize| PassedOver {
            prompt: self.prompts[index].to_owned(),
            similarity: self.similarities[index],
        };
        passed_over.into_iter().map(describe).collect()
    }
}

fn no_rival(expected: String) -> Error {
    Error::Option { option: "concepts", reason: format!("expected {expected}, found none") }
}
