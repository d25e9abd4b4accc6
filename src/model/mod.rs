//! LOAD: a checkpoint's files become a model that is ready to run.

pub mod config;
pub mod nn;
pub mod source;
pub mod tokenizer;
pub mod weights;

mod build;

use std::{fs::File, io::Read, path::Path, sync::OnceLock};

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use config::ClipConfig;
use nn::{TextTower, VisionTower};
use tokenizer::{PromptTokenizer, Tokens};
use weights::Weights;

/// A configuration or tokenizer file larger than this is refused: the largest real ones have some 35 MB.
const LARGEST_TEXT_FILE: u64 = 128 << 20;

/// A CLIP checkpoint: its towers are loaded when they are first needed.
pub struct Model {
    config: ClipConfig,
    weights: Weights,
    tokenizer: PromptTokenizer,
    device: Device,
    logit_scale: f64,
    vision: OnceLock<VisionTower>,
    text: OnceLock<(TextTower, Tensor)>,
}

impl Model {
    /// Opens the checkpoint in a directory and checks that its files fit each other.
    ///
    /// # Errors
    /// If a file is missing or broken, or if the weights are not those that the configuration describes.
    pub fn open(directory: &Path, device: Device) -> Result<Self> {
        let config = ClipConfig::read(&directory.join("config.json"))?;
        let weights = Weights::open(directory)?;
        let tokenizer = PromptTokenizer::open(directory, &config.text)?;
        Self::assemble(config, weights, tokenizer, device)
    }

    pub(crate) fn assemble(
        config: ClipConfig,
        weights: Weights,
        tokenizer: PromptTokenizer,
        device: Device,
    ) -> Result<Self> {
        weights.check(&build::expected(&config))?;
        let logit_scale = weights.tensor("logit_scale", &Device::Cpu)?.to_scalar::<f32>()?;
        let logit_scale = f64::from(logit_scale).exp();
        if !logit_scale.is_finite() {
            let reason = "tensor logit_scale: expected a number, found none".to_owned();
            return Err(Error::Weights { path: weights.path().into(), reason });
        }
        let (vision, text) = (OnceLock::new(), OnceLock::new());
        Ok(Self { config, weights, tokenizer, device, logit_scale, vision, text })
    }

    /// What `config.json` says.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// The checkpoint's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What similarities are multiplied with to become logits.
    pub fn logit_scale(&self) -> f64 {
        self.logit_scale
    }

    /// Splits a prompt as the checkpoint's tokenizer does.
    ///
    /// # Errors
    /// [`Error::Prompt`] if the prompt is empty; [`Error::Tokenizer`] if the tokenizer does not fit the model.
    pub fn tokenize(&self, prompt: &str) -> Result<Tokens> {
        self.tokenizer.tokenize(prompt)
    }

    /// The vision tower, loaded at the first call.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read.
    pub fn vision(&self) -> Result<&VisionTower> {
        loaded(&self.vision, || build::vision_tower(&self.weights, &self.config, &self.device))
    }

    /// The embeddings of texts, each a unit vector. The text tower is loaded at the first call.
    ///
    /// # Shapes
    /// Returns [texts, embedding].
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read, [`Error::Numeric`] if an embedding is not finite.
    pub fn embed_texts(&self, texts: &[Tokens]) -> Result<Tensor> {
        let (tower, projection) =
            loaded(&self.text, || build::text_tower(&self.weights, &self.config, &self.device))?;
        let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let padded = texts.iter().flat_map(|text| {
            text.ids.iter().copied().chain(std::iter::repeat_n(0, longest - text.ids.len()))
        });
        let ids = Tensor::from_iter(padded, &self.device)?.reshape((texts.len(), longest))?;
        let hidden = tower.forward(&ids)?;
        let rows = texts.iter().enumerate().map(|(index, text)| hidden.get(index)?.get(text.end));
        let ends = Tensor::stack(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        let embeddings = ends.matmul(&projection.t()?)?;
        self.unit(&embeddings, "text embedding")
    }

    /// Makes every row a unit vector.
    ///
    /// # Shapes
    /// `rows`: [count, embedding]; returns the same.
    ///
    /// # Errors
    /// [`Error::Numeric`] if a row has no direction, naming the broken tensors of the checkpoint if there are
    /// any.
    pub(crate) fn unit(&self, rows: &Tensor, what: &'static str) -> Result<Tensor> {
        let lengths = rows.sqr()?.sum_keepdim(1)?.sqrt()?;
        let usable = |length: &f32| length.is_finite() && *length > 0.0;
        if lengths.flatten_all()?.to_vec1::<f32>()?.iter().all(usable) {
            return Ok(rows.broadcast_div(&lengths)?);
        }
        match self.weights.not_finite()?.as_slice() {
            [] => Err(Error::Numeric { what, reason: "it is zero or not finite".into() }),
            [first, rest @ ..] => {
                let others =
                    if rest.is_empty() { String::new() } else { format!(" and {} others", rest.len()) };
                let reason =
                    format!("tensor {first}{others}: expected finite numbers, found NaN or infinity");
                Err(Error::Weights { path: self.weights.path().into(), reason })
            }
        }
    }
}

/// The value in the cell, made at the first call.
fn loaded<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// Reads a text file of bounded size.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(std::io::Error::from(std::io::ErrorKind::IsADirectory));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_TEXT_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_TEXT_FILE {
            let reason = format!("expected at most {} MB", LARGEST_TEXT_FILE >> 20);
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason));
        }
        Ok(bytes)
    };
    read().map_err(|source| Error::Read { path: path.into(), source })
}
