//! One photo's pass through the vision tower, and the maps that it gives.

use candle_core::Tensor;

use crate::{
    attribution::{ConceptMap, Targets},
    refine::{self, Affinity, Artifacts, Refinement},
    report::{Outliers, Seconds},
};
use fieldmark_model::{
    embed::Scores,
    error::{Error, Result},
    geometry::{Fit, Placement},
    gradient::{Differentiation, LayerTrace},
    model::{Model, network::Recording, preprocess::FitRequest},
    photo::Photo,
    progress::ProgressHandler,
};

use super::{
    Stopwatch,
    plan::{Plan, attending_blocks},
    settings::Settings,
};

/// The most memory that attention scores may take.
const ATTENTION_BYTES: u64 = 4 << 30;

/// Photos pass the tower together until they have about so many cells: products of more rows are no faster a row.
const ENOUGH_CELLS: usize = 784;

/// No more photos pass together: they all are in memory.
const MOST_TOGETHER: usize = 4;

/// What decides how the vision tower sees a photo.
#[derive(Clone)]
pub(super) struct PassOptions {
    /// Ascending.
    layers: Vec<usize>,
    recording: Recording,
    pub(super) request: FitRequest,
    /// Whether maps are refined by the blocks' attention.
    by_affinity: bool,
    artifacts: Artifacts,
}

impl PassOptions {
    pub(super) fn new(model: &Model, settings: &Settings, plan: &Plan) -> Self {
        Self {
            layers: plan.layers.clone(),
            recording: plan.recording.clone(),
            request: fit_request(model, settings),
            by_affinity: plan.setup.refined.contains(&Refinement::Affinity),
            artifacts: settings.artifacts,
        }
    }

    /// Whether a pass of this view gives what the other one asks for.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let layers = other.layers.iter().all(|layer| self.layers.contains(layer));
        layers && self.fits(other) && self.recording.and(&other.recording) == self.recording
    }

    /// Asks for what the other one asks for as well, if one pass can give both.
    pub(super) fn join(&mut self, other: &Self) {
        if self.fits(other) {
            self.layers.extend(&other.layers);
            self.layers.sort_unstable();
            self.layers.dedup();
            self.recording = self.recording.and(&other.recording);
        }
    }

    /// Whether both show the same pixels to the tower and treat its maps alike.
    fn fits(&self, other: &Self) -> bool {
        let how = |view: &Self| (view.request, view.by_affinity, view.artifacts);
        how(self) == how(other)
    }

    /// About how many bytes a pass of this view takes: pixels, the activations of its layers with what the closed form
    /// keeps of them, what is recorded, and where a graph is kept for gradients, its blocks.
    pub(super) fn memory(&self, model: &Model, pass: &TowerPass) -> u64 {
        const FLOAT: u64 = size_of::<f32>() as u64;
        let vision = &model.config().vision;
        let (cells, input) = (pass.placement.grid.cells(), pass.placement.input);
        let tokens = (cells + vision.prefix_tokens()) as u64;
        let (width, heads) = (vision.tower.width as u64, vision.tower.heads as u64);
        let inside = 16 * tokens * width + 3 * heads * tokens * tokens;
        let last = vision.tower.layers.saturating_sub(1);
        let graph =
            self.layers.iter().min().map_or(0, |lowest| (last.saturating_sub(*lowest)) as u64 * inside);
        let layers = self.layers.len() as u64 * 8 * tokens * width;
        let recorded = self.recording.attention.len() as u64 * tokens * tokens
            + self.recording.insides.len() as u64 * inside;
        let affinity = if self.by_affinity { (cells * cells) as u64 } else { 0 };
        FLOAT * (3 * u64::from(input.width) * u64::from(input.height) + layers + recorded + graph + affinity)
    }

    /// How many photos should pass the tower together: so many that it is used well, and fewer of those that it cuts
    /// into many patches. What is recorded of blocks takes too much memory for more than one.
    pub(super) fn photos_together(&self) -> usize {
        if self.recording == Recording::default() {
            (ENOUGH_CELLS / self.request.trained.cells().max(1)).clamp(1, MOST_TOGETHER)
        } else {
            1
        }
    }

    /// The same for a square tile of a photo.
    pub(super) fn of_tile(&self) -> Self {
        Self { request: FitRequest { fit: Fit::Squash, detail: 1.0, ..self.request }, ..self.clone() }
    }
}

/// One photo after its pass through the tower.
pub(super) struct TowerPass<'m> {
    /// One a layer, the lowest first.
    traces: Vec<LayerTrace<'m>>,
    embedding: Tensor,
    unit: Tensor,
    logit_scale: f64,
    affinity: Option<Affinity>,
    artifacts: Artifacts,
    /// For every layer the cells whose tokens are not about their place.
    outliers: Vec<Vec<usize>>,
    logit_bias: f64,
    pub(super) placement: Placement,
    pub(super) seconds: Seconds,
}

/// A photo before its pass.
pub(super) struct PassInput {
    /// [3, height, width].
    pixels: Tensor,
    placement: Placement,
    /// What it took.
    seconds: f64,
}

impl PassInput {
    pub(super) fn new(model: &Model, photo: &Photo, view: &PassOptions) -> Result<Self> {
        let mut clock = Stopwatch::start();
        let prepared = model.preprocess().prepare(photo, &view.request)?;
        let tokens = model.config().vision.prefix_tokens() + prepared.placement.grid.cells();
        refuse_too_many_tokens(model, tokens, &view.recording)?;
        let input = prepared.placement.input;
        let shape = (3, input.height as usize, input.width as usize);
        let pixels = Tensor::from_vec(prepared.pixels, shape, model.device())?;
        Ok(Self { pixels, placement: prepared.placement, seconds: clock.lap() })
    }
}

impl<'m> TowerPass<'m> {
    /// Runs the vision tower on a photo.
    pub(super) fn new(
        model: &'m Model,
        photo: &Photo,
        view: &PassOptions,
        progress: &'m dyn ProgressHandler,
    ) -> Result<Self> {
        Ok(Self::of_each(model, vec![PassInput::new(model, photo, view)?], view, progress)?.remove(0))
    }

    /// Runs the vision tower on several photos, which pass it together. The trunk's time is shared out by the photos'
    /// sizes.
    pub(super) fn of_each(
        model: &'m Model,
        photos: Vec<PassInput>,
        view: &PassOptions,
        progress: &'m dyn ProgressHandler,
    ) -> Result<Vec<Self>> {
        let mut clock = Stopwatch::start();
        let pixels: Vec<Tensor> = photos.iter().map(|photo| photo.pixels.clone()).collect();
        let (tower, fastest) = (model.vision()?, Differentiation::Fastest);
        let traces = LayerTrace::of_each(tower, &pixels, &view.layers, fastest, &view.recording)?;
        let seen = photos.into_iter().zip(traces);
        let passes: Result<Vec<Self>> =
            seen.map(|(photo, traces)| Self::behind(model, photo, traces, view, progress)).collect();
        let (mut passes, seconds) = (passes?, clock.lap());
        let size = |pass: &Self| pass.placement.grid.cells() as f64;
        let all: f64 = passes.iter().map(size).sum();
        for pass in &mut passes {
            pass.seconds.trunk = seconds * size(pass) / all;
        }
        Ok(passes)
    }

    fn behind(
        model: &'m Model,
        photo: PassInput,
        traces: Vec<LayerTrace<'m>>,
        view: &PassOptions,
        progress: &'m dyn ProgressHandler,
    ) -> Result<Self> {
        let traces: Vec<_> = traces.into_iter().map(|trace| trace.with_progress(progress)).collect();
        let Some(last) = traces.last() else {
            let reason = "expected at least one, found none".into();
            return Err(Error::Option { option: "layers", reason });
        };
        let embedding = last.embedding()?;
        let unit = model.unit(&embedding.unsqueeze(0)?, "image embedding")?.get(0)?;
        let attention = attending_blocks(last.tower().layers());
        let affinity = view.by_affinity.then(|| affinity(&last.patch_attention(attention)?));
        let outliers: Result<Vec<_>> =
            traces.iter().map(|trace| Ok(refine::find(&trace.patch_norms()?))).collect();
        Ok(Self {
            outliers: outliers?,
            traces,
            embedding,
            unit,
            logit_scale: model.logit_scale(),
            affinity: affinity.transpose()?,
            artifacts: view.artifacts,
            logit_bias: model.logit_bias(),
            placement: photo.placement,
            seconds: Seconds { decode: photo.seconds, ..Default::default() },
        })
    }

    /// What the texts score on the photo.
    pub(super) fn scores(&self, texts: &Tensor) -> Result<Scores> {
        Ok(Scores::new(&self.unit, texts, self.logit_scale)?.with_bias(self.logit_bias))
    }

    /// A map for every mix of the texts, refined on its grid; `extra`: what the method asked for beside the texts.
    pub(super) fn maps(
        &self,
        plan: &Plan,
        texts: &Tensor,
        extra: Option<&Tensor>,
        mixes: &[Vec<f64>],
    ) -> Result<Vec<ConceptMap>> {
        if mixes.is_empty() {
            return Ok(Vec::new());
        }
        let weights: Vec<f32> = mixes.iter().flatten().map(|weight| *weight as f32).collect();
        let mixes = Tensor::from_vec(weights, (mixes.len(), texts.dim(0)?), texts.device())?;
        let targets =
            Targets::new(&self.embedding, texts, &mixes, self.logit_scale)?.with_extra(extra.cloned());
        let traces = || self.traces.iter().filter(|trace| plan.layers.contains(&trace.layer()));
        let at_once = traces().map(LayerTrace::directions_at_once).min().unwrap_or(1);
        let mut maps = Vec::with_capacity(targets.rows());
        for first in (0..targets.rows()).step_by(at_once) {
            let targets = targets.part(first, at_once.min(targets.rows() - first))?;
            let layers: Result<Vec<_>> = traces().map(|trace| plan.method.maps(trace, &targets)).collect();
            for values in plan.combination.combine(&layers?)?.to_vec2::<f32>()? {
                maps.push(self.map(values, plan)?);
            }
        }
        Ok(maps)
    }

    /// The cells whose tokens are not about their place, at the last of a plan's layers.
    pub(super) fn outliers(&self, plan: &Plan) -> &[usize] {
        let last = self.traces.iter().rposition(|trace| plan.layers.contains(&trace.layer()));
        last.map_or(&[], |at| &self.outliers[at])
    }

    /// The artefacts, if any are worth reporting.
    pub(super) fn artifacts(&self, plan: &Plan) -> Option<Outliers> {
        let outliers = self.outliers(plan);
        if outliers.is_empty() && self.artifacts == Artifacts::Keep {
            return None;
        }
        let columns = self.placement.grid.columns;
        let cells: Vec<_> = outliers.iter().map(|cell| [cell / columns, cell % columns]).collect();
        Some(Outliers { handling: self.artifacts, count: cells.len(), cells })
    }

    fn map(&self, values: Vec<f32>, plan: &Plan) -> Result<ConceptMap> {
        if !values.iter().all(|value| value.is_finite()) {
            let reason = "expected finite numbers, found NaN or infinity".into();
            return Err(Error::Numeric { what: "map", reason });
        }
        let map = ConceptMap::new(values, self.placement);
        let map = match self.artifacts {
            Artifacts::Keep => map,
            Artifacts::Suppress => refine::fill(&map, self.outliers(plan)),
        };
        Ok(match &self.affinity {
            Some(affinity) => affinity.refine(&map),
            None => map,
        })
    }
}

fn affinity(attention: &Tensor) -> Result<Affinity> {
    Affinity::new(attention.flatten_all()?.to_vec1()?, attention.dim(0)?)
}

/// What the settings ask of the fit, at this checkpoint's sizes.
pub(super) fn fit_request(model: &Model, settings: &Settings) -> FitRequest {
    let vision = &model.config().vision;
    FitRequest { fit: settings.fit, patch: vision.patch, trained: vision.grid(), detail: settings.detail }
}

/// Every token attends to every other: memory grows with the square, and would end the process.
pub(super) fn refuse_too_many_tokens(model: &Model, tokens: usize, recording: &Recording) -> Result<()> {
    let heads = model.config().vision.tower.heads as u64;
    // Methods that look inside a block hold its attention, the gradient there and a product of both.
    let held = if recording.insides.is_empty() { heads } else { 3 * heads };
    let squares = held + recording.attention.len() as u64;
    let most = (ATTENTION_BYTES / squares / size_of::<f32>() as u64).isqrt() as usize;
    if tokens <= most {
        return Ok(());
    }
    let reason = format!("expected at most {most} tokens in the model's input, found {tokens}");
    Err(Error::Option { option: "detail", reason })
}
