//! What a method explains: mixes of prompts, seen from one image.

use candle_core::Tensor;

use fieldmark_model::{embed::logit_gradients, error::Result};

/// What is explained: one row a map.
///
/// A row's scalar is S = Σ_j c_j y_j, the logits of some prompts in a mix. Logits are linear in the unit text
/// embedding, so the mix Σ_j c_j t_j is one virtual prompt.
#[derive(Clone, Debug)]
pub struct Targets {
    texts: Tensor,
    weights: Tensor,
    mixes: Tensor,
    directions: Tensor,
    extra: Option<Tensor>,
    logit_scale: f64,
}

impl Targets {
    /// The mixes of some prompts on one image.
    ///
    /// # Shapes
    /// `embedding`, the image's before it was made a unit vector: `[embedding]`; `texts`, unit vectors:
    /// [prompts, embedding]; `weights`: [rows, prompts].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn new(embedding: &Tensor, texts: &Tensor, weights: &Tensor, logit_scale: f64) -> Result<Self> {
        let mixes = weights.matmul(texts)?;
        let directions = logit_gradients(embedding, &mixes, logit_scale)?;
        let (texts, weights) = (texts.clone(), weights.clone());
        Ok(Self { texts, weights, mixes, directions, extra: None, logit_scale })
    }

    /// The same targets, with the embeddings of the method's [extra prompts](super::Method::extra_prompts).
    ///
    /// # Shapes
    /// `extra`, unit vectors: [extra prompts, embedding].
    #[must_use]
    pub fn with_extra(self, extra: Option<Tensor>) -> Self {
        Self { extra, ..self }
    }

    /// Some of the rows.
    ///
    /// # Errors
    /// If there are no such rows.
    pub fn part(&self, first: usize, count: usize) -> Result<Self> {
        let only = |rows: &Tensor| rows.narrow(0, first, count)?.contiguous();
        let (weights, mixes) = (only(&self.weights)?, only(&self.mixes)?);
        Ok(Self { weights, mixes, directions: only(&self.directions)?, ..self.clone() })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.directions.dims().first().copied().unwrap_or(0)
    }

    /// What other images score: S with the weights as they are, which is the objective itself where that is linear
    /// in the logits.
    ///
    /// # Shapes
    /// `embeddings`, not necessarily unit vectors: [images, embedding]; returns [rows, images].
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn scores(&self, embeddings: &Tensor) -> Result<Tensor> {
        let lengths = embeddings.sqr()?.sum_keepdim(1)?.sqrt()?;
        let similarities = self.mixes.matmul(&embeddings.broadcast_div(&lengths)?.t()?)?;
        Ok((similarities * self.logit_scale)?)
    }

    /// The prompts' unit embeddings: [prompts, embedding].
    pub fn texts(&self) -> &Tensor {
        &self.texts
    }

    /// The unit embeddings of the method's extra prompts, in their order: [extra prompts, embedding].
    pub fn extra(&self) -> Option<&Tensor> {
        self.extra.as_ref()
    }

    /// How much every prompt counts in every row: [rows, prompts].
    pub fn weights(&self) -> &Tensor {
        &self.weights
    }

    /// The virtual prompts: [rows, embedding].
    pub fn mixes(&self) -> &Tensor {
        &self.mixes
    }

    /// ∂S/∂z, with respect to the image's embedding before it was made a unit vector: [rows, embedding].
    pub fn directions(&self) -> &Tensor {
        &self.directions
    }

    /// What similarities are multiplied by to give logits.
    pub fn logit_scale(&self) -> f64 {
        self.logit_scale
    }
}
