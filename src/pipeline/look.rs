//! One photo's pass through the vision tower, and the maps that it gives.

use candle_core::Tensor;

use crate::{
    attribution::{ConceptMap, Method, Targets},
    embed::Scores,
    error::{Error, Result},
    geometry::{Fit, Placement},
    gradient::{Differentiation, LayerTrace},
    model::{Model, preprocess::FitRequest},
    photo::Photo,
    report::Seconds,
};

use super::{Clock, plan::Plan, settings::Settings};

/// The most memory that the attention scores of one block may take.
const ATTENTION_BYTES: u64 = 4 << 30;

/// What decides how the vision tower sees a photo.
#[derive(PartialEq)]
pub(super) struct View {
    layer: usize,
    fit: Fit,
    detail: f64,
}

impl View {
    pub(super) fn new(settings: &Settings, plan: &Plan) -> Self {
        Self { layer: plan.layer, fit: settings.fit, detail: settings.detail }
    }
}

/// One photo after its pass through the tower.
pub(super) struct Look<'m> {
    trace: LayerTrace<'m>,
    embedding: Tensor,
    unit: Tensor,
    logit_scale: f64,
    pub(super) placement: Placement,
    pub(super) seconds: Seconds,
}

impl<'m> Look<'m> {
    /// Runs the vision tower on a photo.
    pub(super) fn new(
        model: &'m Model,
        photo: &Photo,
        settings: &Settings,
        layer: usize,
        clock: &mut Clock,
    ) -> Result<Self> {
        let prepared = model.preprocess().prepare(photo, &fit_request(model, settings))?;
        refuse_too_many_tokens(
            model,
            model.config().vision.prefix_tokens() + prepared.placement.grid.cells(),
        )?;
        let input = prepared.placement.input;
        let shape = (3, input.height as usize, input.width as usize);
        let pixels = Tensor::from_vec(prepared.pixels, shape, model.device())?;
        let decode = clock.lap();
        let trace = LayerTrace::new(model.vision()?, &pixels, layer, Differentiation::Fastest)?;
        let embedding = trace.embedding()?;
        let unit = model.unit(&embedding.unsqueeze(0)?, "image embedding")?.get(0)?;
        Ok(Self {
            trace,
            embedding,
            unit,
            logit_scale: model.logit_scale(),
            placement: prepared.placement,
            seconds: Seconds { decode, trunk: clock.lap(), ..Default::default() },
        })
    }

    /// What the texts score on the photo.
    pub(super) fn scores(&self, texts: &Tensor) -> Result<Scores> {
        Scores::new(&self.unit, texts, self.logit_scale)
    }

    /// A map for every mix of the texts.
    pub(super) fn maps(
        &self,
        method: &dyn Method,
        texts: &Tensor,
        mixes: &[Vec<f64>],
    ) -> Result<Vec<ConceptMap>> {
        let weights: Vec<f32> = mixes.iter().flatten().map(|weight| *weight as f32).collect();
        let mixes = Tensor::from_vec(weights, (mixes.len(), texts.dim(0)?), texts.device())?;
        let targets = Targets::new(&self.embedding, texts, &mixes, self.logit_scale)?;
        let rows = method.maps(&self.trace, &targets)?.to_vec2::<f32>()?;
        rows.into_iter().map(|values| self.map(values)).collect()
    }

    fn map(&self, values: Vec<f32>) -> Result<ConceptMap> {
        if values.iter().all(|value| value.is_finite()) {
            return Ok(ConceptMap::new(values, self.placement));
        }
        Err(Error::Numeric { what: "map", reason: "expected finite numbers, found NaN or infinity".into() })
    }
}

/// What the settings ask of the fit, at this checkpoint's sizes.
pub(super) fn fit_request(model: &Model, settings: &Settings) -> FitRequest {
    let vision = &model.config().vision;
    FitRequest { fit: settings.fit, patch: vision.patch, trained: vision.grid(), detail: settings.detail }
}

/// Every token attends to every other: memory grows with the square, and would end the process.
fn refuse_too_many_tokens(model: &Model, tokens: usize) -> Result<()> {
    let heads = model.config().vision.tower.heads as u64;
    let most = (ATTENTION_BYTES / heads / size_of::<f32>() as u64).isqrt() as usize;
    if tokens <= most {
        return Ok(());
    }
    let reason = format!("expected at most {most} tokens in the model's input, found {tokens}");
    Err(Error::Option { option: "detail", reason })
}
