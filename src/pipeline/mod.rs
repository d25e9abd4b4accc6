//! `Explainer`: a checkpoint that answers questions about photographs. The only module that knows all stages.

mod answer;
mod compare;
mod localize;
mod look;
mod plan;
mod rivals;
mod settings;
mod texts;

use std::time::Instant;

pub use answer::{Compare, Found, strip};
pub use settings::{Lineup, LoadOptions, Pairs, Query, Rivals, Settings};

use crate::{
    attribution::{ConceptMap, Method},
    embed::{Scores, sigmoid},
    error::{Error, Result},
    model::{Model, TextCache, source::ModelSpec},
    progress::{Event, ProgressHandler, Silent, Warning},
    prompt::repeated,
    report::Evidence,
    verdict::{NEUTRAL, Presence, verdict},
};
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
    /// vision tower, and tells what is fetched on the way. The text tower is loaded when the first prompt is embedded
    /// that the cache of texts does not know.
    ///
    /// # Errors
    /// If the checkpoint is not found, cannot be fetched, is broken or is not supported, or if the device is not
    /// there.
    pub fn load_with(name: &str, options: &LoadOptions, progress: &dyn ProgressHandler) -> Result<Self> {
        let device = options.device.open()?;
        let model = Model::load(&ModelSpec::parse(name)?, &options.hub, device, progress)?;
        model.vision()?;
        let cache = options.text_cache.as_deref().map(|folder| TextCache::open(folder, &model));
        let cache = match cache.transpose() {
            Ok(cache) => cache.flatten(),
            // What is wrong with the folder is no reason to stop; what is wrong with the checkpoint is.
            Err(error @ (Error::Read { .. } | Error::Write { .. })) => {
                progress.event(Event::Warning(Warning::text_cache(&error)));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { name: name.into(), model, texts: Texts::new(cache) })
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

    /// Adds the neutral prompt where the verdict needs it.
    fn with_neutral<'p>(&self, mut prompts: Vec<&'p str>) -> Vec<&'p str> {
        if self.model.config().presence.is_none() {
            prompts.push(NEUTRAL);
        }
        prompts
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

fn evidence(map: &ConceptMap, presence: Presence) -> Evidence {
    let values = || map.values().iter().map(|value| f64::from(*value));
    let positive = map.positive();
    // A sum of nothing is -0, which would be shown with its sign.
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
