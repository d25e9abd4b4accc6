//! `Explainer`: a checkpoint that answers questions about photographs. The only module that knows all stages.

mod answer;
mod look;
mod plan;
mod settings;
mod texts;

use std::time::Instant;

use candle_core::Tensor;
use rayon::prelude::*;

pub use answer::{Compare, Found};
pub use settings::{LoadOptions, Query, Settings};

use crate::{
    attribution::{ConceptMap, Method},
    embed::Scores,
    error::{Error, Result},
    model::{Model, source::ModelSpec},
    objective::references,
    photo::Photo,
    progress::{ProgressHandler, Silent, Warning},
    prompt::{Template, repeated, same_words},
    report::{Compared, Comparison, Evidence, Localization, Place, Score, Seconds},
    verdict::{NEUTRAL, Presence, sigmoid, verdict},
};
use look::{Look, View};
use plan::{Mix, Plan};
use texts::Texts;

/// A checkpoint that answers questions about photographs.
///
/// Prompts are embedded once, however many photos they are asked of.
pub struct Explainer {
    name: String,
    model: Model,
    texts: Texts,
}

impl Explainer {
    /// Opens a checkpoint: an id of the Hub (`org/name`, `org/name@revision`), a directory, or `miniature`, which ships.
    ///
    /// The Hub's cache is the usual one in the home directory. What Python's libraries let environment variables
    /// change, [`load_with`](Self::load_with) takes as options: see [`HubOptions::from_environment`].
    ///
    /// # Errors
    /// As [`Explainer::load_with`].
    pub fn load(name: &str) -> Result<Self> {
        Self::load_with(name, &LoadOptions::default(), &Silent)
    }

    /// Opens a checkpoint: an id of the Hub (`org/name`, `org/name@revision`), a directory, or `miniature`; loads its
    /// vision tower, and tells what is fetched on the way. The text tower is loaded when the first prompt is
    /// embedded.
    ///
    /// # Errors
    /// If the checkpoint is not found, cannot be fetched, is broken or is not supported, or if the device is not
    /// there.
    pub fn load_with(name: &str, options: &LoadOptions, progress: &dyn ProgressHandler) -> Result<Self> {
        let device = options.device.open()?;
        let model = Model::load(&ModelSpec::parse(name)?, &options.hub, device, progress)?;
        model.vision()?;
        Ok(Self { name: name.into(), model, texts: Texts::default() })
    }

    /// The checkpoint.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The name that the checkpoint was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The method that these settings mean for this checkpoint.
    ///
    /// # Errors
    /// If there is no method of that name.
    pub fn method(&self, settings: &Settings) -> Result<&'static dyn Method> {
        plan::method(self.model.config(), settings)
    }

    /// Checks a query before any photo is opened, and embeds its prompts.
    ///
    /// # Errors
    /// If a prompt is empty, a rival is the target itself or there twice, or a setting is not one of the
    /// checkpoint's.
    pub fn check(&self, query: &Query) -> Result<()> {
        self.ask(query).map(drop)
    }

    /// Chooses rivals: the concepts most similar to the target by text embedding, without the target itself.
    ///
    /// # Errors
    /// If a prompt is empty, or no concept is left beside the target.
    pub fn nearest(
        &self,
        target: &str,
        concepts: &[String],
        count: usize,
        templates: &[Template],
    ) -> Result<Vec<String>> {
        let others: Vec<&str> =
            concepts.iter().map(String::as_str).filter(|concept| !same_words(concept, target)).collect();
        if others.is_empty() {
            let reason = "expected a concept that is neither the target nor a rival already, found none";
            return Err(Error::Option { option: "concepts", reason: reason.into() });
        }
        let (target, _) = self.texts.embed(&self.model, &[target], templates)?;
        let (embeddings, _) = self.texts.embed(&self.model, &others, templates)?;
        let chosen = references::nearest(&target.get(0)?, &embeddings, count)?;
        Ok(chosen.into_iter().map(|index| others[index].to_owned()).collect())
    }

    /// Where the photo shows the target, and what tells it from its rivals.
    ///
    /// # Errors
    /// If the query is not sound (see [`check`](Self::check)), or a computation gives no numbers.
    pub fn localize(&self, photo: &Photo, query: &Query) -> Result<Found> {
        Ok(self.localize_all(photo, std::slice::from_ref(query))?.remove(0))
    }

    /// Answers several queries on one photo, in their order. Queries that see the photo alike (the same layer, fit
    /// and detail) share one pass through the vision tower.
    ///
    /// An answer's seconds count the pass that it shares, and only its own head.
    ///
    /// # Errors
    /// As [`localize`](Self::localize), if any of the queries fails.
    pub fn localize_all(&self, photo: &Photo, queries: &[Query]) -> Result<Vec<Found>> {
        let mut looks: Vec<(View, Look)> = Vec::new();
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let mut clock = Clock::start();
            let asked = self.ask(query)?;
            let text = clock.lap();
            let view = View::new(&query.settings, &asked.plan);
            let known = looks.iter().position(|(other, _)| *other == view);
            let index = known.unwrap_or(looks.len());
            if known.is_none() {
                looks.push((
                    view,
                    Look::new(&self.model, photo, &query.settings, asked.plan.layer, &mut clock)?,
                ));
            }
            let look = &looks[index].1;
            let mut found = self.answer(photo, look, asked)?;
            found.report.seconds = Seconds { text, head: clock.lap(), ..look.seconds };
            answers.push(found);
        }
        Ok(answers)
    }

    /// Checks a query, resolves its settings and embeds its prompts.
    fn ask<'q>(&self, query: &'q Query) -> Result<Asked<'q>> {
        if let Some(same) = query.references.iter().find(|reference| same_words(reference, &query.target)) {
            let reason = "it is the target itself, so it cannot be a rival".to_owned();
            return Err(Error::Prompt { prompt: same.clone(), reason });
        }
        refuse_repeated(&query.references)?;
        let plan = Plan::new(&self.model, &query.settings)?;
        let (texts, warnings) =
            self.texts.embed(&self.model, &self.prompts_of(query), &query.settings.templates)?;
        Ok(Asked { query, plan, texts, warnings })
    }

    /// What one look says to one query; the seconds are left to the caller.
    fn answer(&self, photo: &Photo, look: &Look, asked: Asked) -> Result<Found> {
        let Asked { query, plan, texts, warnings } = asked;
        let competing = 1 + query.references.len();
        let scores = look.scores(&texts)?;
        let logits = &scores.logits[..competing];
        let weights = plan.objective.gradient(logits, query.settings.strength);
        let map = look.maps(plan.method, &texts.narrow(0, 0, competing)?, &[weights])?.remove(0);
        let mut competitors = self.competitors(query, &scores);
        let presence = self.presence(&scores, 0, competing);
        let report = Localization {
            image: photo.path().into(),
            image_size: [photo.size().width, photo.size().height],
            model: self.name.clone(),
            target: competitors.remove(0),
            setup: plan.setup.place(map.placement()),
            against: competitors,
            objective: plan.objective.value(logits, query.settings.strength),
            evidence: evidence(&map, presence),
            place: Place::of(&map),
            files: Default::default(),
            seconds: Seconds::default(),
        };
        Ok(Found { report, map, warnings })
    }

    /// Scores and maps of several prompts. At strength 0 every map is plain; above, each prompt is contrasted
    /// with all the others.
    ///
    /// # Errors
    /// If there is no prompt, one is empty or there twice, or a setting is not one of the checkpoint's.
    pub fn compare(&self, photo: &Photo, prompts: &[String], settings: &Settings) -> Result<Compare> {
        if prompts.is_empty() {
            return Err(Error::Option {
                option: "prompts",
                reason: "expected at least one, found none".into(),
            });
        }
        refuse_repeated(prompts)?;
        let plan = Plan::new(&self.model, settings)?;
        let mut clock = Clock::start();
        let asked = self.with_neutral(prompts.iter().map(String::as_str).collect());
        let (texts, warnings) = self.texts.embed(&self.model, &asked, &settings.templates)?;
        let text = clock.lap();
        let look = Look::new(&self.model, photo, settings, plan.layer, &mut clock)?;
        let scores = look.scores(&texts)?;
        let logits = &scores.logits[..prompts.len()];
        let mixes: Vec<_> =
            (0..prompts.len()).map(|target| Mix::new(&plan, logits, target, settings)).collect();
        let weights: Vec<Vec<f64>> = mixes.iter().map(|mix| mix.weights.clone()).collect();
        let maps = look.maps(plan.method, &texts.narrow(0, 0, prompts.len())?, &weights)?;
        let probabilities = crate::embed::softmax(logits);
        // Peaks and regions are found at the photo's size: of many prompts they are the larger part of the work.
        let compared = maps.par_iter().enumerate().map(|(index, map)| Compared {
            score: Score {
                prompt: prompts[index].clone(),
                similarity: scores.similarities[index],
                logit: logits[index],
                probability: probabilities[index],
            },
            objective: mixes[index].value,
            evidence: evidence(map, self.presence(&scores, index, prompts.len())),
            place: Place::of(map),
            files: Default::default(),
        });
        let report = Comparison {
            image: photo.path().into(),
            image_size: [photo.size().width, photo.size().height],
            model: self.name.clone(),
            prompts: compared.collect(),
            setup: plan.setup.place(&look.placement),
            files: Default::default(),
            seconds: Seconds { text, head: clock.lap(), ..look.seconds },
        };
        Ok(Compare { report, maps, warnings })
    }

    /// Target, references and, where the verdict needs it, the neutral prompt.
    fn prompts_of<'q>(&self, query: &'q Query) -> Vec<&'q str> {
        let prompts = std::iter::once(&query.target).chain(&query.references).map(String::as_str);
        self.with_neutral(prompts.collect())
    }

    fn with_neutral<'p>(&self, mut prompts: Vec<&'p str>) -> Vec<&'p str> {
        if self.model.config().presence.is_none() {
            prompts.push(NEUTRAL);
        }
        prompts
    }

    fn competitors(&self, query: &Query, scores: &Scores) -> Vec<Score> {
        let prompts = std::iter::once(&query.target).chain(&query.references);
        let probabilities = crate::embed::softmax(&scores.logits[..1 + query.references.len()]);
        let numbers = scores.similarities.iter().zip(&scores.logits).zip(probabilities);
        let score = |(prompt, ((similarity, logit), probability)): (&String, ((&f64, &f64), f64))| Score {
            prompt: prompt.clone(),
            similarity: *similarity,
            logit: *logit,
            probability,
        };
        prompts.zip(numbers).map(score).collect()
    }

    /// What decides whether prompt `target` of `competing` is there; the neutral prompt, if any, comes after them.
    fn presence(&self, scores: &Scores, target: usize, competing: usize) -> Presence {
        let config = self.model.config();
        match config.presence {
            Some(bounds) => {
                let bias = config.logit_bias.unwrap_or(0.0);
                Presence::Sigmoid { probability: sigmoid(scores.logits[target] + bias), bounds }
            }
            None => Presence::Neutral {
                margin: scores.similarities[target] - scores.similarities[competing],
                rival_fits_better: scores.logits[..competing]
                    .iter()
                    .any(|logit| *logit > scores.logits[target]),
            },
        }
    }
}

/// Prompts that are there twice would count double, without a word.
fn refuse_repeated(prompts: &[String]) -> Result<()> {
    match repeated(prompts) {
        Some(prompt) => Err(Error::Prompt { prompt: prompt.clone(), reason: "it is there twice".into() }),
        None => Ok(()),
    }
}

/// One query, made ready.
struct Asked<'q> {
    query: &'q Query,
    plan: Plan,
    /// Target, references and, where the verdict needs it, the neutral prompt: [prompts, embedding].
    texts: Tensor,
    warnings: Vec<Warning>,
}

fn evidence(map: &ConceptMap, presence: Presence) -> Evidence {
    let values = || map.values().iter().map(|value| f64::from(*value));
    // A sum of nothing is -0, which would be shown with its sign.
    let positive = values().filter(|value| *value > 0.0).sum::<f64>() + 0.0;
    let negative = values().filter(|value| *value < 0.0).sum::<f64>() + 0.0;
    Evidence { positive, negative, verdict: verdict(positive, presence) }
}

/// Measures one stage after another.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start or the lap before.
    fn lap(&mut self) -> f64 {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        seconds
    }
}
