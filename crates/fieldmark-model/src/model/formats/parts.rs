//! The files of a checkpoint become its configuration, weights and preprocessing, in whichever form they are.

use std::path::{Path, PathBuf};

use super::{
    config::{ClipConfig, OpenClipConfig, TensorNames, TimmClassifier, VitFamily},
    prefixes,
    weights::Weights,
};
use crate::{
    error::{Error, Result},
    model::{
        build,
        hub::{self, Layout, ModelSpec},
        pixels::preprocess::{Preprocess, ProcessorKind},
    },
};

/// Where a checkpoint is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    /// The file of weights that was named; none where the directory's own counts.
    pub(crate) weights: Option<PathBuf>,
}

/// What a checkpoint's files say, not yet held against each other.
pub(crate) struct Parts {
    pub(crate) config: ClipConfig,
    pub(crate) weights: Weights,
    pub(crate) preprocess: Preprocess,
}

impl Place {
    /// The place of a checkpoint whose files are in this directory.
    pub(crate) fn of(spec: &ModelSpec, directory: PathBuf) -> Self {
        let weights = match spec {
            ModelSpec::WeightsFile(file) => Some(file.clone()),
            _ => None,
        };
        Self { directory, weights }
    }

    /// Reads everything but the tensors' numbers.
    ///
    /// # Errors
    /// If a file is missing or broken. That tensors are missing or too many is found by comparing.
    pub(crate) fn read(&self) -> Result<Parts> {
        hub::refuse_links_out(&self.directory)?;
        let listing = hub::listing(&self.directory)?;
        let layouts = match &self.weights {
            Some(_) => hub::layouts(&listing),
            None => hub::layout(&listing).into_iter().collect(),
        };
        let mut parts = layouts.into_iter().map(|layout| self.read_as(layout, &listing));
        match (parts.next(), parts.next()) {
            (None, _) => {
                let reason = format!("neither {} nor {} was found", hub::CONFIG, hub::OPEN_CLIP_CONFIGS[0]);
                Err(Error::ModelNotFound { model: self.directory.display().to_string(), reason })
            }
            (Some(only), None) => only,
            // A file of weights that was named, with the configurations of both forms beside it.
            (Some(Ok(one)), Some(Ok(other))) if other.misses() < one.misses() => Ok(other),
            (Some(Err(_)), Some(Ok(other))) => Ok(other),
            (Some(one), Some(_)) => one,
        }
    }

    fn read_as(&self, layout: Layout, listing: &[String]) -> Result<Parts> {
        let weights = || match (&self.weights, hub::weights(layout, listing)) {
            (Some(file), _) => Weights::open_file(file),
            (None, Some(name)) => Weights::open_file(&self.directory.join(name)),
            (None, None) => Err(self.no_weights(layout, listing)),
        };
        let mut parts = match layout {
            Layout::Transformers => transformers(&self.directory, weights)?,
            Layout::OpenClip => open_clip(&self.directory, listing, weights)?,
        };
        prefixes::agree(&mut parts.weights, &mut parts.config)?;
        Ok(parts)
    }

    fn no_weights(&self, layout: Layout, listing: &[String]) -> Error {
        let names: &[&str] = match layout {
            Layout::Transformers => &hub::WEIGHTS,
            Layout::OpenClip => &hub::OPEN_CLIP_WEIGHTS,
        };
        let found = hub::other_weights(listing);
        let reason = format!("neither {} was found, only {found}", names.join(" nor "));
        Error::Weights { path: self.directory.clone(), reason }
    }
}

impl Parts {
    /// How many tensors are not there.
    fn misses(&self) -> usize {
        self.weights.compare(&build::expected(&self.config)).missing.len()
    }
}

fn transformers(directory: &Path, weights: impl Fn() -> Result<Weights>) -> Result<Parts> {
    let path = directory.join(hub::CONFIG);
    if TimmClassifier::is_one(&path) {
        let TimmClassifier { model: config, pretrained } = TimmClassifier::read(&path)?;
        let preprocess = Preprocess::from_timm(&path, &pretrained, config.vision.image_size as u32)?;
        return Ok(Parts { weights: weights()?, config, preprocess });
    }
    let config = ClipConfig::read(&path)?;
    let kind = match config.names {
        TensorNames::TransformersSiglip => ProcessorKind::Siglip,
        TensorNames::TransformersVit(names) if names.family == VitFamily::Vit => ProcessorKind::Vit,
        TensorNames::TransformersVit(_) => ProcessorKind::Dinov2,
        _ => ProcessorKind::Clip,
    };
    let preprocess = Preprocess::from_directory(directory, kind, config.vision.image_size as u32)?;
    Ok(Parts { weights: weights()?, config, preprocess })
}

fn open_clip(directory: &Path, listing: &[String], weights: impl Fn() -> Result<Weights>) -> Result<Parts> {
    let [usual, bare] = hub::OPEN_CLIP_CONFIGS;
    let is_usual = listing.iter().any(|name| name == usual);
    let file = directory.join(if is_usual { usual } else { bare });
    let OpenClipConfig { model: config, preprocess } = OpenClipConfig::read(&file)?;
    let preprocess = Preprocess::from_open_clip(&file, &preprocess, config.vision.image_size as u32)?;
    Ok(Parts { weights: weights()?, config, preprocess })
}
