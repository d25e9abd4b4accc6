//! `Explainer`: a checkpoint that answers questions about photographs. The only file that knows all stages.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use candle_core::Tensor;
use image::RgbImage;
use rayon::prelude::*;

use crate::{
    attribution::{self, ConceptMap, Method},
    device::DeviceChoice,
    embed::{Scores, logit_gradients, probabilities, sigmoid},
    error::{Error, Result},
    geometry::{Fit, Placement},
    gradient::{Differentiation, LayerTrace},
    model::{
        Model,
        preprocess::FitRequest,
        source::{HubOptions, ModelSpec},
    },
    objective::{self, Objective, Strength, references},
    photo::Photo,
    progress::{ProgressHandler, Silent, Warning},
    prompt::{Template, repeated, same_words},
    render,
    report::{Compared, Comparison, Evidence, Localization, Place, Score, Seconds, Setup},
    verdict::{NEUTRAL, Presence, verdict},
};

/// How a checkpoint is found and where it runs.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The Hub and its cache.
    pub hub: HubOptions,
    /// Where to compute.
    pub device: DeviceChoice,
}

/// How maps are made, whatever they are about.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How much of the references is subtracted.
    pub strength: Strength,
    /// The objective's name: see [`objective::OBJECTIVES`].
    pub aggregate: String,
    /// The method's name: see [`attribution::METHODS`]. None: what the checkpoint recommends, else the first.
    pub method: Option<String>,
    /// The block whose `ln_1` output is explained; negative counts from the end.
    pub layer: i64,
    /// How the photo is fitted to the model.
    pub fit: Fit,
    /// How many times the trained resolution [`Fit::Whole`] uses along each side.
    pub detail: f64,
    /// How prompts are phrased; the embeddings of several are averaged.
    pub templates: Vec<Template>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strength: Strength::default(),
            aggregate: objective::OBJECTIVES[0].name().into(),
            method: None,
            layer: -1,
            fit: Fit::default(),
            detail: 1.0,
            templates: vec![Template::default()],
        }
    }
}

/// What is asked: a target, its rivals, and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// The concept asked about.
    pub target: String,
    /// Its rivals. None of them may be the target itself.
    pub references: Vec<String>,
    /// How the map is made.
    pub settings: Settings,
}

impl Query {
    /// Asks about a concept, with the default settings and no rivals.
    pub fn new(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// Adds rivals.
    #[must_use]
    pub fn against<T: Into<String>>(mut self, references: impl IntoIterator<Item = T>) -> Self {
        self.references.extend(references.into_iter().map(Into::into));
        self
    }

    /// Replaces the settings.
    #[must_use]
    pub fn with(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }
}

/// The answer to a [`Query`] on one photo.
#[derive(Clone, Debug)]
pub struct Found {
    /// The numbers.
    pub report: Localization,
    /// The signed map.
    pub map: ConceptMap,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl Found {
    /// The photo with the evidence drawn over it.
    pub fn overlay(&self, photo: &Photo) -> RgbImage {
        render::overlay(photo.rgb(), &self.map, &render::RenderOptions::default())
    }
}

/// Several prompts on one photo.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The numbers.
    pub report: Comparison,
    /// The prompts' signed maps, in their order.
    pub maps: Vec<ConceptMap>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl Compare {
    /// One sheet with the photo and all maps on one shared signed scale.
    pub fn sheet(&self, photo: &Photo) -> RgbImage {
        let panels = self.report.prompts.iter().zip(&self.maps).map(|(prompt, map)| {
            let Score { prompt: title, similarity, logit, .. } = &prompt.score;
            let (kind, verdict) = (self.report.probability_kind, prompt.evidence.verdict);
            let notes = vec![
                format!("similarity {similarity:.3} · logit {logit:.2}"),
                format!("{} {} · {verdict}", kind.name(), prompt.score.percent(kind)),
            ];
            render::Panel { title: title.clone(), notes, map }
        });
        render::sheet(photo.rgb(), &panels.collect::<Vec<_>>(), render::Scale::Own)
    }
}

/// A checkpoint that answers questions about photographs.
///
/// Prompts are embedded once, however many photos they are asked of.
pub struct Explainer {
    name: String,
    model: Model,
    texts: Mutex<HashMap<String, Tensor>>,
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
        Ok(Self { name: name.into(), model, texts: Mutex::default() })
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
        match settings.method.as_ref().or(self.model.config().recommended_method.as_ref()) {
            Some(name) => attribution::method(name),
            None => Ok(attribution::METHODS[0]),
        }
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
        let (target, _) = self.embed(&[target], templates)?;
        let (embeddings, _) = self.embed(&others, templates)?;
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
                looks.push((view, self.look(photo, &query.settings, &asked.plan, &mut clock)?));
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
        let plan = self.plan(&query.settings)?;
        let (texts, warnings) = self.embed(&self.prompts_of(query), &query.settings.templates)?;
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
            probability_kind: self.model.config().probability,
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
        let plan = self.plan(settings)?;
        let mut clock = Clock::start();
        let asked = self.with_neutral(prompts.iter().map(String::as_str).collect());
        let (texts, warnings) = self.embed(&asked, &settings.templates)?;
        let text = clock.lap();
        let look = self.look(photo, settings, &plan, &mut clock)?;
        let scores = look.scores(&texts)?;
        let logits = &scores.logits[..prompts.len()];
        let mixes: Vec<_> =
            (0..prompts.len()).map(|target| Mix::new(&plan, logits, target, settings)).collect();
        let weights: Vec<Vec<f64>> = mixes.iter().map(|mix| mix.weights.clone()).collect();
        let maps = look.maps(plan.method, &texts.narrow(0, 0, prompts.len())?, &weights)?;
        let kind = self.model.config().probability;
        let probabilities = probabilities(logits, kind);
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
            probability_kind: kind,
            prompts: compared.collect(),
            setup: plan.setup.place(&look.placement),
            files: Default::default(),
            seconds: Seconds { text, head: clock.lap(), ..look.seconds },
        };
        Ok(Compare { report, maps, warnings })
    }

    /// Resolves the settings' names against what there is.
    fn plan(&self, settings: &Settings) -> Result<Plan> {
        let config = self.model.config();
        let layers = config.vision.tower.layers as i64;
        let layer = if settings.layer < 0 { settings.layer + layers } else { settings.layer };
        if !(0..layers).contains(&layer) {
            let reason = format!("expected {} to {}, found {}", -layers, layers - 1, settings.layer);
            return Err(Error::Option { option: "layer", reason });
        }
        self.fit_request(settings).check()?;
        let method = self.method(settings)?;
        let objective = objective::objective(&settings.aggregate)?;
        let setup = Setup {
            method: method.name().into(),
            layer: settings.layer,
            strength: settings.strength.get(),
            aggregate: objective.name().into(),
            fit: settings.fit,
            grid: [0; 2],
            covers: [0.0; 4],
        };
        Ok(Plan { layer: layer as usize, method, objective, setup })
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

    /// The prompts' embeddings, each a unit vector: [prompts, embedding]. The neutral prompt is never phrased by
    /// a template.
    fn embed(&self, prompts: &[&str], templates: &[Template]) -> Result<(Tensor, Vec<Warning>)> {
        let mut warnings = Vec::new();
        let mut rows = Vec::with_capacity(prompts.len());
        let plain = [Template::default()];
        for prompt in prompts {
            if prompt.trim().is_empty() {
                return Err(Error::Prompt { prompt: (*prompt).into(), reason: "it is empty".into() });
            }
            let templates = if *prompt == NEUTRAL || templates.is_empty() { &plain } else { templates };
            rows.push(templates.iter().map(|template| template.fill(prompt)).collect::<Vec<_>>());
        }
        self.embed_new(rows.iter().flatten(), &mut warnings)?;
        let known = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = |texts: &Vec<String>| -> Result<Tensor> {
            let rows: Vec<_> = texts.iter().filter_map(|text| known.get(text)).collect();
            Ok(Tensor::stack(&rows, 0)?.mean(0)?)
        };
        let means: Result<Vec<_>> = rows.iter().map(mean).collect();
        let means = Tensor::stack(&means?, 0)?;
        Ok((self.model.unit(&means, "text embedding")?, warnings))
    }

    /// Embeds the texts that were not embedded before, in one batch.
    fn embed_new<'t>(
        &self,
        texts: impl Iterator<Item = &'t String>,
        warnings: &mut Vec<Warning>,
    ) -> Result<()> {
        let mut known = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<(&String, _)> = Vec::new();
        for text in texts {
            let tokens = self.model.tokenize(text)?;
            warnings.extend(tokens.truncated.clone());
            if !known.contains_key(text) && new.iter().all(|(other, _)| *other != text) {
                new.push((text, tokens));
            }
        }
        for batch in new.chunks(TEXT_BATCH) {
            let tokens: Vec<_> = batch.iter().map(|(_, tokens)| tokens.clone()).collect();
            let rows = self.model.embed_texts(&tokens)?;
            for (index, (text, _)) in batch.iter().enumerate() {
                known.insert((*text).clone(), rows.get(index)?);
            }
        }
        Ok(())
    }

    /// Runs the vision tower.
    fn look(&self, photo: &Photo, settings: &Settings, plan: &Plan, clock: &mut Clock) -> Result<Look<'_>> {
        let prepared = self.model.preprocess().prepare(photo, &self.fit_request(settings))?;
        let prefix = self.model.config().vision.prefix_tokens();
        self.refuse_too_many_tokens(prefix + prepared.placement.grid.cells())?;
        let input = prepared.placement.input;
        let shape = (3, input.height as usize, input.width as usize);
        let pixels = Tensor::from_vec(prepared.pixels, shape, self.model.device())?;
        let decode = clock.lap();
        let trace = LayerTrace::new(self.model.vision()?, &pixels, plan.layer, Differentiation::Fastest)?;
        let embedding = trace.embedding()?;
        let unit = self.model.unit(&embedding.unsqueeze(0)?, "image embedding")?.get(0)?;
        Ok(Look {
            trace,
            embedding,
            unit,
            logit_scale: self.model.logit_scale(),
            logit_bias: self.model.logit_bias(),
            placement: prepared.placement,
            seconds: Seconds { decode, trunk: clock.lap(), ..Default::default() },
        })
    }

    fn fit_request(&self, settings: &Settings) -> FitRequest {
        let vision = &self.model.config().vision;
        FitRequest { fit: settings.fit, patch: vision.patch, trained: vision.grid(), detail: settings.detail }
    }

    /// Every token attends to every other: memory grows with the square, and would end the process.
    fn refuse_too_many_tokens(&self, tokens: usize) -> Result<()> {
        let heads = self.model.config().vision.tower.heads as u64;
        let most = (ATTENTION_BYTES / heads / size_of::<f32>() as u64).isqrt() as usize;
        if tokens <= most {
            return Ok(());
        }
        let reason = format!("expected at most {most} tokens in the model's input, found {tokens}");
        Err(Error::Option { option: "detail", reason })
    }

    fn competitors(&self, query: &Query, scores: &Scores) -> Vec<Score> {
        let prompts = std::iter::once(&query.target).chain(&query.references);
        let competing = &scores.logits[..1 + query.references.len()];
        let probabilities = probabilities(competing, self.model.config().probability);
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

/// Texts in one pass of the text tower: more would need memory and save no time.
const TEXT_BATCH: usize = 32;

/// The most memory that the attention scores of one block may take.
const ATTENTION_BYTES: u64 = 4 << 30;

/// Prompts that are there twice would count double, without a word.
fn refuse_repeated(prompts: &[String]) -> Result<()> {
    match repeated(prompts) {
        Some(prompt) => Err(Error::Prompt { prompt: prompt.clone(), reason: "it is there twice".into() }),
        None => Ok(()),
    }
}

/// The settings, resolved for one checkpoint.
struct Plan {
    layer: usize,
    method: &'static dyn Method,
    objective: &'static dyn Objective,
    setup: Setup,
}

/// One query, made ready.
struct Asked<'q> {
    query: &'q Query,
    plan: Plan,
    /// Target, references and, where the verdict needs it, the neutral prompt: [prompts, embedding].
    texts: Tensor,
    warnings: Vec<Warning>,
}

/// What decides how the vision tower sees a photo.
#[derive(PartialEq)]
struct View {
    layer: usize,
    fit: Fit,
    detail: f64,
}

impl View {
    fn new(settings: &Settings, plan: &Plan) -> Self {
        Self { layer: plan.layer, fit: settings.fit, detail: settings.detail }
    }
}

/// One prompt as the target and all others as references: the objective's weights in the prompts' order.
struct Mix {
    weights: Vec<f64>,
    value: f64,
}

impl Mix {
    fn new(plan: &Plan, logits: &[f64], target: usize, settings: &Settings) -> Self {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order[..=target].rotate_right(1);
        if settings.strength.get() == 0.0 {
            order.truncate(1);
        }
        let chosen: Vec<f64> = order.iter().map(|index| logits[*index]).collect();
        let mut weights = vec![0.0; logits.len()];
        for (index, weight) in order.iter().zip(plan.objective.gradient(&chosen, settings.strength)) {
            weights[*index] = weight;
        }
        Self { weights, value: plan.objective.value(&chosen, settings.strength) }
    }
}

/// One photo after its pass through the tower.
struct Look<'m> {
    trace: LayerTrace<'m>,
    embedding: Tensor,
    unit: Tensor,
    logit_scale: f64,
    logit_bias: f64,
    placement: Placement,
    seconds: Seconds,
}

impl Look<'_> {
    fn scores(&self, texts: &Tensor) -> Result<Scores> {
        Ok(Scores::new(&self.unit, texts, self.logit_scale)?.with_bias(self.logit_bias))
    }

    /// A map for every mix of the texts.
    fn maps(&self, method: &dyn Method, texts: &Tensor, mixes: &[Vec<f64>]) -> Result<Vec<ConceptMap>> {
        let weights: Vec<f32> = mixes.iter().flatten().map(|weight| *weight as f32).collect();
        let mixes = Tensor::from_vec(weights, (mixes.len(), texts.dim(0)?), texts.device())?;
        let directions = logit_gradients(&self.embedding, &mixes.matmul(texts)?, self.logit_scale)?;
        let rows = method.maps(&self.trace, &directions)?.to_vec2::<f32>()?;
        rows.into_iter().map(|values| self.map(values)).collect()
    }

    fn map(&self, values: Vec<f32>) -> Result<ConceptMap> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(ConceptMap::new(values, self.placement));
        }
        Err(Error::Numeric { what: "map", reason: "expected finite numbers, found NaN or infinity".into() })
    }
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
