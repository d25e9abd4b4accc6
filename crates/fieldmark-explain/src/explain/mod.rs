//! `Explainer`: a checkpoint that answers questions about photographs. The only module that knows all stages.

mod answer;
mod compare;
mod extensions;
mod input;
mod layers;
mod localize;
mod tower_pass;
mod photo_session;
mod passes;
mod plan;
mod rivals;
mod settings;
mod texts;

use std::{ffi::OsStr, path::Path, sync::Arc, time::Instant};

pub use answer::{Compare, Found, methods_sheet, strip, strip_at};
pub use input::{Embedding, ModelInput, Prompts};
pub use layers::Layers;
pub use photo_session::PhotoSession;
pub use settings::{CompareQuery, LoadOptions, Pairs, Query, Rivals, Settings};

use crate::{
    attribution::{ConceptMap, METHODS, Method},
    objective::Objective,
    prompt::repeated,
    refine::Refinement,
    regions::Place,
    report::{BestTile, Evidence, Origin, Setup},
    verdict::{NEUTRAL, Presence, Verdict, verdict},
};
use extensions::Extensions;
use fieldmark_model::{
    embed::{Scores, sigmoid},
    error::{Error, Result},
    files::escaped,
    model::{Model, TextCache, hub::ModelSpec},
    photo::Photo,
    progress::{Event, ProgressHandler, Silent, Warning},
    random::Random,
};
use plan::Plan;
use texts::Texts;

/// A checkpoint that answers questions about photographs.
///
/// Prompts are embedded once, however many photos they are asked of.
pub struct Explainer {
    name: String,
    /// The escaped form of a name that is not UTF-8.
    name_bytes: Option<String>,
    model: Model,
    texts: Arc<Texts>,
    progress: Arc<dyn ProgressHandler>,
    extensions: Extensions,
    origin: Origin,
}

impl Explainer {
    /// Opens a checkpoint: an id of the Hub (`org/name`, `org/name@revision`), a directory, or `miniature`, which ships.
    ///
    /// Weights are memory-mapped: if another process truncates a file of the checkpoint while it is in use, the operating
    /// system kills this process (SIGBUS). Replacing a file by renaming another one over it is safe.
    ///
    /// The Hub's cache is the usual one in the home directory. What Python's libraries let environment variables
    /// change, [`load_with`](Self::load_with) takes as options: see
    /// [`from_environment`](fieldmark_model::model::hub::HubOptions::from_environment).
    ///
    /// # Errors
    /// As [`Explainer::load_with`].
    pub fn load(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::load_with(name, &LoadOptions::default(), &Silent)
    }

    /// Opens a checkpoint: an id of the Hub (`org/name`, `org/name@revision`), a directory, or `miniature`; loads its
    /// vision tower, and reports what is fetched on the way. The text tower is loaded when the first prompt is embedded
    /// that the cache of texts does not know.
    ///
    /// # Errors
    /// If the checkpoint is not found, cannot be fetched, is broken or is not supported, or if the device is not
    /// there.
    pub fn load_with(
        name: impl AsRef<OsStr>,
        options: &LoadOptions,
        progress: &dyn ProgressHandler,
    ) -> Result<Self> {
        let name = name.as_ref();
        let device = options.device.open()?;
        let model = Model::load(&ModelSpec::parse(name)?, &options.hub, device, progress)?;
        let model = model.with_precision(options.precision)?;
        model.vision()?;
        let texts = Arc::new(Texts::new(text_cache(options, &model, progress)?));
        let name_bytes = escaped(Path::new(name));
        let name = name.to_string_lossy().into_owned();
        let extensions = Extensions::default();
        let origin = Origin::new(&model, model.known_hash(options.text_cache.as_deref()));
        Ok(Self { name, name_bytes, model, texts, progress: Arc::new(Silent), extensions, origin })
    }

    /// The same explainer; `progress` hears of answers that take many passes through the vision tower.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn ProgressHandler>) -> Self {
        self.progress = progress;
        self
    }

    /// The same explainer; [`Settings::method`] may also name this method.
    ///
    /// # Errors
    /// [`Error::Option`] if its name is that of another method.
    pub fn with_method(mut self, method: impl Method + 'static) -> Result<Self> {
        self.extensions.add_method(Arc::new(method))?;
        Ok(self)
    }

    /// The same explainer; [`Settings::aggregate`] may also name this objective.
    ///
    /// # Errors
    /// [`Error::Option`] if its name is that of another objective.
    pub fn with_objective(mut self, objective: impl Objective + 'static) -> Result<Self> {
        self.extensions.add_objective(Arc::new(objective))?;
        Ok(self)
    }

    /// The same checkpoint, once for every number from 1 to that of its vision tower's blocks: with the weights of so
    /// many of the last blocks shuffled, each tensor in itself, so that how its values are distributed stays and what
    /// was learnt is gone. One follows from the other, as in the cascading randomisation of Adebayo et al. (NeurIPS
    /// 2018, arXiv 1810.03292), who draw new weights; all of them together need the memory of one more vision tower.
    ///
    /// The texts are those of this checkpoint, which are not embedded again. The same seed gives the same weights.
    ///
    /// # Errors
    /// If a tensor cannot be read.
    pub fn cascade(&self, seed: u64) -> Result<Vec<Self>> {
        let mut tower = self.model.vision()?.clone();
        let mut stages = Vec::with_capacity(tower.layers());
        for block in (0..tower.layers()).rev() {
            tower = tower.with_shuffled(block, &mut Random::named(seed, &format!("block {block}")))?;
            stages.push(Self {
                name: self.name.clone(),
                name_bytes: self.name_bytes.clone(),
                model: self.model.with_vision(tower.clone()),
                texts: self.texts.clone(),
                progress: self.progress.clone(),
                extensions: self.extensions.clone(),
                origin: self.origin.clone(),
            });
        }
        Ok(stages)
    }

    /// What results come from: this program and the checkpoint.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The checkpoint.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The name that the checkpoint was opened by; what is not UTF-8 of a path is U+FFFD.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The escaped form ([`escaped`]) of a name that is not UTF-8.
    pub fn name_bytes(&self) -> Option<&str> {
        self.name_bytes.as_deref()
    }

    /// The method that these settings mean for this checkpoint.
    ///
    /// # Errors
    /// If there is no method of that name.
    pub fn method(&self, settings: &Settings) -> Result<&dyn Method> {
        match settings.method.as_ref().or(self.model.config().recommended_method.as_ref()) {
            Some(name) => self.extensions.method(name),
            None => Ok(METHODS[0]),
        }
    }

    /// The objective that these settings mean.
    ///
    /// # Errors
    /// If there is no objective of that name.
    pub fn objective(&self, settings: &Settings) -> Result<&dyn Objective> {
        self.extensions.objective(&settings.aggregate)
    }

    /// The settings as results record them, but for what depends on the photo.
    ///
    /// # Errors
    /// If a setting is not one of the checkpoint's.
    pub fn setup(&self, settings: &Settings) -> Result<Setup> {
        Ok(Plan::new(self, settings)?.setup)
    }

    /// Adds the neutral prompt where the verdict needs it.
    fn with_neutral<'p>(&self, mut prompts: Vec<&'p str>) -> Vec<&'p str> {
        if self.model.config().presence.is_none() {
            prompts.push(NEUTRAL);
        }
        prompts
    }

    /// What decides whether the photo shows prompt `target` of `competing`; the neutral prompt, if any, comes after them.
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

/// The cache of texts, if one is wanted. What is wrong with its folder is no reason to stop; what is wrong with the
/// checkpoint is.
fn text_cache(
    options: &LoadOptions,
    model: &Model,
    progress: &dyn ProgressHandler,
) -> Result<Option<TextCache>> {
    let Some(folder) = &options.text_cache else { return Ok(None) };
    match TextCache::open(folder, model) {
        Err(error @ (Error::Read { .. } | Error::Write { .. })) => {
            progress.event(Event::Warning(Warning::text_cache(&error)));
            Ok(None)
        }
        cache => cache,
    }
}

/// Repeated prompts would silently count double.
fn refuse_repeated(prompts: &[String]) -> Result<()> {
    match repeated(prompts) {
        Some(prompt) => Err(Error::Prompt { prompt: prompt.clone(), reason: "it is given twice".into() }),
        None => Ok(()),
    }
}

/// What there is to say of a prompt with words that the checkpoint cannot know.
fn unknown_words(prompt: &str, words: &[String]) -> Option<Warning> {
    (!words.is_empty()).then(|| Warning::UnknownWords { prompt: prompt.into(), words: words.into() })
}

/// The best tile of a prompt, whose verdict is unknown if the prompt has words that the checkpoint cannot know.
fn judged(tile: Option<BestTile>, unknown_words: &[String]) -> Option<BestTile> {
    tile.map(|tile| match unknown_words {
        [] => tile,
        _ => BestTile { verdict: Verdict::Unknown, ..tile },
    })
}

/// What there is to say where several prompts compete before a method that looks at none of them.
fn ignoring_prompts(method: &dyn Method, competing: usize) -> Option<Warning> {
    let ignored = competing > 1 && !method.facts().discriminative;
    ignored.then(|| Warning::PromptsIgnored { method: method.name() })
}

fn place(map: &ConceptMap, setup: &Setup, photo: &Photo) -> Place {
    Place::of(&answer::on_pixels(map, setup, photo.rgb()), setup.threshold)
}

/// Peaks and regions are found at the photo's size: of many prompts they are the larger part of the work.
fn places(maps: &[ConceptMap], setup: &Setup, photo: &Photo) -> Vec<Place> {
    if setup.refined.contains(&Refinement::Guided) {
        // Maps on the photo's pixels are large: one at a time, which keeps all threads busy by itself.
        maps.iter().map(|map| place(map, setup, photo)).collect()
    } else {
        Place::of_all(maps, setup.threshold)
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
struct Stopwatch(Instant);

impl Stopwatch {
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
