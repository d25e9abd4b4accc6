//! A checkpoint that is ready to run.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use candle_core::{Device, Tensor};

use super::{
    build,
    cache::content_hash,
    config::{ClipConfig, TextAttention},
    formats::parts::{Parts, Place},
    hub::{self, HubOptions, ModelFiles, ModelSpec},
    miniature,
    network::{Kernel, Linear, TextTower, VisionTower},
    preprocess::Preprocess,
    tokenizer::{LazyTokenizer, Tokens},
    weights::Weights,
};
use crate::{
    device::Precision,
    error::{Error, Result},
    feature::Feature,
    progress::{Event, ProgressHandler, Silent, Warning},
    targets::Targets,
};

/// A CLIP checkpoint: its towers and its tokenizer are loaded when they are first needed.
pub struct Model {
    config: ClipConfig,
    weights: Arc<Weights>,
    /// None where there is no text tower.
    tokenizer: Option<Arc<LazyTokenizer>>,
    preprocess: Preprocess,
    device: Device,
    /// What multiplies bfloat16, where the trunk is to be in it.
    rounding: Option<Kernel>,
    logit_scale: f64,
    logit_bias: f64,
    vision: OnceLock<VisionTower>,
    text: Arc<OnceLock<(TextTower, Option<Linear>)>>,
    /// Its classes, where it has any.
    classes: Option<Arc<Targets>>,
    /// Where it was found; none of the checkpoint that ships.
    files: Option<ModelFiles>,
}

impl Model {
    /// Finds a checkpoint, fetching from the Hub what is missing, and opens it.
    ///
    /// Weights are memory-mapped, as [`Model::open`] says.
    ///
    /// # Errors
    /// If it is not found or cannot be fetched, and as [`Model::open`].
    pub fn load(
        spec: &ModelSpec,
        hub: &HubOptions,
        device: Device,
        progress: &dyn ProgressHandler,
    ) -> Result<Self> {
        match spec {
            ModelSpec::Builtin => miniature::open(device),
            _ => {
                let files = hub::locate(spec, hub, progress)?;
                let place = Place::of(spec, files.directory.clone());
                Ok(Self { files: Some(files), ..Self::open_at(&place, device, progress)? })
            }
        }
    }

    /// Opens the checkpoint in a directory and checks that its files fit each other. It has transformers' form
    /// (`config.json` with `model.safetensors` or `pytorch_model.bin`, whole or in shards) or else open_clip's
    /// (`open_clip_config.json` with weights of its own names, those of transformers or of its training).
    ///
    /// Weights are memory-mapped: if another process truncates their file while the model is in use, the operating system
    /// kills this process (SIGBUS). Replacing the file by renaming another one over it is safe.
    ///
    /// # Errors
    /// If a file is missing or broken, or if the weights are not those that the configuration describes. Errors
    /// inside a tokenizer's file show when the first text is split.
    pub fn open(directory: &Path, device: Device) -> Result<Self> {
        let place = Place { directory: directory.into(), weights: None };
        let files = ModelFiles { directory: directory.into(), commit: None, files: Vec::new() };
        Ok(Self { files: Some(files), ..Self::open_at(&place, device, &Silent)? })
    }

    fn open_at(place: &Place, device: Device, progress: &dyn ProgressHandler) -> Result<Self> {
        let Parts { config, weights, preprocess } = place.read()?;
        // Report weights that do not fit before a missing tokenizer.
        let extra = weights.check(&build::expected(&config))?.extra;
        let tokenizer = config.text.as_ref().map(|text| LazyTokenizer::open(&place.directory, text));
        let tokenizer = tokenizer.transpose()?;
        if let Some(first) = extra.first() {
            let (path, tensors, first) = (weights.path().into(), extra.len(), first.clone());
            progress.event(Event::Warning(Warning::ExtraTensors { path, tensors, first }));
        }
        Self::assemble(config, weights, tokenizer, preprocess, device)
    }

    pub(super) fn assemble(
        config: ClipConfig,
        weights: Weights,
        tokenizer: Option<LazyTokenizer>,
        preprocess: Preprocess,
        device: Device,
    ) -> Result<Self> {
        let (logit_scale, logit_bias) = build::logit_numbers(&weights, &config)?;
        let classes = build::classes(&weights, &config, &device)?.map(Arc::new);
        let (weights, tokenizer) = (Arc::new(weights), tokenizer.map(Arc::new));
        let (vision, text) = (OnceLock::new(), Arc::default());
        Ok(Self {
            config,
            weights,
            tokenizer,
            preprocess,
            device,
            rounding: None,
            logit_scale,
            logit_bias,
            vision,
            text,
            classes,
            files: None,
        })
    }

    /// The same checkpoint, not yet loaded, with its trunk in another precision.
    ///
    /// # Errors
    /// [`Error::Option`] if bfloat16 is asked for and is not to be had: the processor has no instructions for it, or
    /// the model computes elsewhere.
    pub fn with_precision(mut self, precision: Precision) -> Result<Self> {
        self.rounding = match precision {
            Precision::Auto | Precision::F32 => None,
            Precision::Bf16 if !self.device.is_cpu() => {
                let reason = "expected the CPU as the device for bf16, found a GPU".into();
                return Err(Error::Option { option: "precision", reason });
            }
            Precision::Bf16 => Some(Kernel::best().ok_or_else(|| {
                let reason = "expected a processor with AMX or AVX-512 BF16 for bf16, found neither".into();
                Error::Option { option: "precision", reason }
            })?),
        };
        self.vision = OnceLock::new();
        Ok(self)
    }

    /// The precision of the trunk: never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        if self.rounding.is_some() { Precision::Bf16 } else { Precision::F32 }
    }

    /// The same checkpoint with another vision tower; all else is shared.
    pub fn with_vision(&self, vision: VisionTower) -> Self {
        Self {
            config: self.config.clone(),
            weights: self.weights.clone(),
            tokenizer: self.tokenizer.clone(),
            preprocess: self.preprocess.clone(),
            device: self.device.clone(),
            rounding: self.rounding,
            logit_scale: self.logit_scale,
            logit_bias: self.logit_bias,
            vision: OnceLock::from(vision),
            text: self.text.clone(),
            classes: self.classes.clone(),
            files: self.files.clone(),
        }
    }

    /// The vision tower read as a feature: [`VisionTower::read_as`].
    ///
    /// # Errors
    /// [`Error::Option`] if the tower has no such feature, and as [`vision`](Self::vision).
    pub fn reading(&self, feature: Feature) -> Result<VisionTower> {
        self.vision()?.read_as(feature)
    }

    /// The same checkpoint, whose vision tower is read as a feature: its embeddings of pictures are that feature, and its
    /// configuration says how it is pooled. All else is shared; texts still have the checkpoint's own embeddings.
    ///
    /// # Errors
    /// As [`reading`](Self::reading).
    pub fn read_as(&self, feature: Feature) -> Result<Self> {
        let mut model = self.with_vision(self.reading(feature)?);
        model.config.vision.pooling = model.vision()?.pooling();
        Ok(model)
    }

    /// Every feature that the vision tower can be read as, with its width.
    ///
    /// # Errors
    /// As [`vision`](Self::vision).
    pub fn features(&self) -> Result<Vec<(Feature, usize)>> {
        Ok(Feature::of(self.vision()?))
    }

    /// The classes of the checkpoint, if it is a classifier: the rows of its last layer.
    pub fn classes(&self) -> Option<&Targets> {
        self.classes.as_deref()
    }

    /// What its configuration says.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// The checkpoint's tensors.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The tokenizer, or where its files are.
    ///
    /// # Errors
    /// [`Error::NoTextTower`] if there is no text tower.
    pub(super) fn tokenizer(&self) -> Result<&LazyTokenizer> {
        self.tokenizer.as_deref().ok_or(Error::NoTextTower)
    }

    /// Whether there is a text tower, so that texts can be targets.
    pub fn has_text_tower(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// How the checkpoint wants its pixels.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Where the model computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What similarities are multiplied with to become logits.
    pub fn logit_scale(&self) -> f64 {
        self.logit_scale
    }

    /// What is added to every logit: 0 unless the checkpoint was trained with a sigmoid, as SigLIP was.
    pub fn logit_bias(&self) -> f64 {
        self.logit_bias
    }

    /// The commit of the Hub's repository; none of any other checkpoint.
    pub fn revision(&self) -> Option<&str> {
        self.files.as_ref()?.commit.as_deref()
    }

    /// The SHA-256 of the checkpoint's files, read whole: of a line for each of them, by name, with the name, a blank, its
    /// own SHA-256 in hexadecimal digits, and a line feed. None of the checkpoint that ships, which is a part of the
    /// program.
    ///
    /// # Errors
    /// [`Error::Read`] if a file cannot be read.
    pub fn content_hash(&self) -> Result<Option<String>> {
        let Some(files) = &self.files else { return Ok(None) };
        let hash = content_hash::read(files);
        hash.map(Some).map_err(|source| Error::Read { path: files.directory.clone(), source })
    }

    /// The [`content_hash`](Self::content_hash), as far as it costs no time that is felt: large files in the Hub's cache
    /// count with the SHA-256 by which the cache names them, and others are read once and remembered in `folder`. None
    /// where large files would have to be read each time, as there is no folder, or have more than 4 GiB.
    pub fn known_hash(&self, folder: Option<&Path>) -> Option<String> {
        content_hash::known(self.files.as_ref()?, folder)
    }

    /// Whether the checkpoint's files are those that were opened. What was computed in between is of them alone if they
    /// are.
    ///
    /// # Errors
    /// [`Error::Weights`] if a file was changed, replaced or removed.
    pub fn check_unchanged(&self) -> Result<()> {
        self.weights.check_unchanged()
    }

    /// Splits a prompt as the checkpoint's tokenizer does.
    ///
    /// # Errors
    /// [`Error::Prompt`] if the prompt is empty; [`Error::NoTextTower`]; [`Error::Tokenizer`] if the tokenizer is broken or does not fit the
    /// model.
    pub fn tokenize(&self, prompt: &str) -> Result<Tokens> {
        self.tokenizer()?.get()?.tokenize(prompt)
    }

    /// Splits a text that may be empty: then only the start and the end token are left.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer is broken or does not fit the model.
    pub fn tokenize_any(&self, text: &str) -> Result<Tokens> {
        self.tokenizer()?.get()?.tokenize_any(text)
    }

    /// The words of a prompt that the checkpoint cannot know, where its configuration lists all that it knows; none
    /// where it lists none.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer is broken or does not fit the model.
    pub fn unknown_words(&self, prompt: &str) -> Result<Vec<String>> {
        let Some(vocabulary) = &self.config.closed_vocabulary else { return Ok(Vec::new()) };
        vocabulary.unknown(prompt, |one, other| Ok(self.tokenize(one)?.ids == self.tokenize(other)?.ids))
    }

    /// The vision tower, loaded at the first call.
    ///
    /// # Errors
    /// [`Error::Weights`] if a tensor cannot be read.
    pub fn vision(&self) -> Result<&VisionTower> {
        loaded(&self.vision, || {
            let tower = build::vision_tower(&self.weights, &self.config, &self.device)?;
            Ok(match self.rounding {
                Some(kernel) => tower.rounding(kernel),
                None => tower,
            })
        })
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
        // Where a token sees only those before it, what follows the one that stands for the text changes nothing.
        let attention = self.config.text.as_ref().map(|text| text.attention);
        let is_causal = attention == Some(TextAttention::Causal);
        let seen = |text: &Tokens| if is_causal { text.end + 1 } else { text.ids.len() };
        let longest = texts.iter().map(seen).max().unwrap_or(0);
        let padded = texts.iter().flat_map(|text| {
            text.ids
                .iter()
                .copied()
                .take(longest)
                .chain(std::iter::repeat_n(0, longest.saturating_sub(text.ids.len())))
        });
        let ids = Tensor::from_iter(padded, &self.device)?.reshape((texts.len(), longest))?;
        let hidden = tower.forward(&ids)?;
        let rows = texts.iter().enumerate().map(|(index, text)| hidden.get(index)?.get(text.end));
        let ends = Tensor::stack(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?;
        let embeddings = match projection {
            Some(projection) => projection.forward(&ends)?,
            None => ends,
        };
        self.unit(&embeddings, "text embedding")
    }

    /// What was loaded: the vision tower, the text tower, the tokenizer.
    pub fn loaded(&self) -> [bool; 3] {
        [
            self.vision.get().is_some(),
            self.text.get().is_some(),
            self.tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.is_parsed()),
        ]
    }

    /// Makes every row a unit vector.
    ///
    /// # Shapes
    /// `rows`: [count, embedding]; returns the same.
    ///
    /// # Errors
    /// [`Error::Numeric`] if a row has no direction, naming the broken tensors of the checkpoint if there are
    /// any.
    pub fn unit(&self, rows: &Tensor, what: &'static str) -> Result<Tensor> {
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
pub(super) fn loaded<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Result<Model> {
        Model::open(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name),
            Device::Cpu,
        )
    }

    #[test]
    fn a_tower_is_loaded_when_it_is_needed_and_the_other_is_not() -> Result<()> {
        for name in ["tiny-gelu", "tiny-siglip"] {
            let model = fixture(name)?;
            assert!(model.vision.get().is_none() && model.text.get().is_none(), "opening loads none");
            model.embed_texts(&[model.tokenize("a bird")?])?;
            assert!(model.vision.get().is_none() && model.text.get().is_some(), "texts need no pictures");
            let model = fixture(name)?;
            model.vision()?;
            assert!(model.vision.get().is_some() && model.text.get().is_none(), "pictures need no texts");
        }
        Ok(())
    }
}
