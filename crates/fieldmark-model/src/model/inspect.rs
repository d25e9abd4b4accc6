//! What was understood of a checkpoint, without loading its towers: its configuration, the headers of its weights, its
//! tokenizer and its preprocessing become one record.
//!
//! Tensors that are missing or too many are part of the record here, where [`Model::open`](super::Model::open)
//! refuses them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Serialize, Serializer};

use super::{
    build,
    config::{
        ClassifierConfig, ClipConfig, ProbabilityKind, TextAttention, TextConfig, TextPooling, TowerConfig,
        VisionPooling,
    },
    formats::{
        names::{TensorNames, Tower, VitFamily},
        parts::{Parts, Place},
        read_text_file,
    },
    hub::{self, HubOptions, ModelFile, ModelSpec, needed, shards},
    miniature,
    preprocess::{Preprocess, Resample, Resize},
    tokenizer::{PromptTokenizer, TokenizerFacts},
    weights::{Differences, Weights},
};
use crate::{
    error::{Error, Result},
    feature::Feature,
    files::serialize_path,
    progress::ProgressHandler,
};

/// What was understood of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The name that it was asked for by.
    pub model: String,
    /// Where its files are; null for what is part of the program.
    #[serde(flatten, serialize_with = "directory")]
    pub directory: Option<PathBuf>,
    /// The commit of the Hub's repository; null for a local directory.
    pub commit: Option<String>,
    /// Whose model it is, and whose names its tensors have: `CLIP (transformers)`, `SigLIP (transformers)`,
    /// `CLIP (open_clip)`, `ViT (transformers)`, `DINOv2 (transformers)`, `DINOv2 with registers (transformers)` or
    /// `ViT (timm)`.
    pub format: &'static str,
    /// The vision tower.
    pub vision: Vision,
    /// The text tower; null of a model that knows photos alone.
    pub text: Option<Text>,
    /// The classes of a classifier; null of any other model.
    pub classifier: Option<Classes>,
    /// Numbers in an embedding.
    pub embedding: usize,
    /// What its probabilities are.
    pub probability_kind: ProbabilityKind,
    /// What similarities are multiplied with; null if the weights do not say.
    pub logit_scale: Option<f64>,
    /// What is added to logits; null if the weights do not say, 0 where the model has none.
    pub logit_bias: Option<f64>,
    /// The method that its authors recommend, where they do.
    pub recommended_method: Option<String>,
    /// How a photo becomes its input with `--fit crop`.
    pub preprocess: Pixels,
    /// How a prompt becomes its input; null without a text tower.
    pub tokenizer: Option<TokenizerFacts>,
    /// What is in the files.
    pub weights: Contents,
    /// The files, configuration first.
    pub files: Vec<File>,
}

/// A stack of transformer blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Blocks {
    /// Their number.
    pub layers: usize,
    /// Numbers in a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Numbers in the hidden layer of an MLP.
    pub mlp_width: usize,
    /// The nonlinearity of the MLPs.
    pub activation: &'static str,
    /// What is added to the variance in layer norms.
    pub layer_norm_epsilon: f64,
    /// Numbers in the tower, projection included.
    pub parameters: u64,
}

/// The vision tower.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Vision {
    /// Its blocks.
    #[serde(flatten)]
    pub blocks: Blocks,
    /// The side of the square that it was trained on, in pixels.
    pub image_size: usize,
    /// The side of a patch, in pixels.
    pub patch: usize,
    /// Rows and columns of patches.
    pub grid: [usize; 2],
    /// How the tokens become one vector: `class token`, `attention` or `mean of patches`.
    pub pooling: &'static str,
}

/// The text tower.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Text {
    /// Its blocks.
    #[serde(flatten)]
    pub blocks: Blocks,
    /// Which tokens a token sees: `causal` or `bidirectional`.
    pub attention: &'static str,
    /// Which token stands for the text: `end token`, `last token` or `first token`.
    pub pooling: &'static str,
}

/// The last layer of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Classes {
    /// The feature that it is on.
    pub feature: Feature,
    /// The number of classes.
    pub count: usize,
    /// The names of the first few.
    pub first: Vec<String>,
}

/// How a photo becomes the model's input with the checkpoint's own preprocessing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pixels {
    /// Which side gets the length that `size` gives: `shorter`, `longer` or `both`; `none` keeps the photo as it is.
    pub resize: &'static str,
    /// The length, or width and height.
    pub size: Vec<u32>,
    /// Width and height of the cut from the middle; null where there is none.
    pub crop: Option<[u32; 2]>,
    /// How pixels are weighed.
    pub interpolation: &'static str,
    /// What is subtracted, by channel.
    pub mean: [f32; 3],
    /// What is divided by, by channel.
    pub std: [f32; 3],
}

/// What is in the files of the weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Contents {
    /// Bytes in the files.
    pub bytes: u64,
    /// Numbers in all tensors but those that are ignored.
    pub parameters: u64,
    /// How many numbers there are of each data type, such as `F16`.
    pub dtypes: BTreeMap<String, u64>,
    /// Tensors that the configuration asks for and that are not there.
    pub missing: Vec<String>,
    /// Tensors that have another shape: name, expected and found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors inside the model's own modules that a model of this configuration does not have.
    pub unused: Vec<String>,
    /// Tensors beside the model, a classifier for instance, which it does not need.
    pub extra: Vec<String>,
    /// Tensors that are no part of the model, but known to be left behind by older libraries.
    pub ignored: Vec<String>,
    /// What the names of the model's tensors begin with in the files, `model.` for instance; empty if nothing.
    pub prefix: String,
    /// What the names of all tensors have in common, or how they begin, where tensors are missing; else null.
    pub hint: Option<String>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its name in the directory.
    pub name: String,
    /// Bytes in it.
    pub bytes: u64,
}

impl Inspection {
    /// Finds a checkpoint, fetching from the Hub what is missing, and reads everything but the towers' numbers.
    ///
    /// # Errors
    /// If it is not found, or a file is missing, broken or describes something that is not supported. That tensors
    /// are missing or too many is no error but a part of the record.
    pub fn new(spec: &ModelSpec, hub: &HubOptions, progress: &dyn ProgressHandler) -> Result<Self> {
        let name = spec.to_string();
        if *spec == ModelSpec::Builtin {
            let (config, weights, preprocess, tokenizer) = miniature::parts()?;
            return Self::of(name, &config, &weights, &preprocess, Some(&tokenizer));
        }
        let found = hub::locate(spec, hub, progress)?;
        let place = Place::of(spec, found.directory.clone());
        let Parts { config, weights, preprocess } = place.read()?;
        let tokenizer = config.text.as_ref().map(|text| PromptTokenizer::open(&found.directory, text));
        let tokenizer = tokenizer.transpose()?;
        Ok(Self {
            files: if found.files.is_empty() { files(&found.directory)? } else { listed(found.files) },
            directory: Some(found.directory),
            commit: found.commit,
            ..Self::of(name, &config, &weights, &preprocess, tokenizer.as_ref())?
        })
    }

    /// Whether the checkpoint can be used: no tensor is missing or of another shape, and none inside the model's own
    /// modules is too many.
    pub fn is_usable(&self) -> bool {
        let weights = &self.weights;
        weights.missing.is_empty() && weights.misshapen.is_empty() && weights.unused.is_empty()
    }

    fn of(
        model: String,
        config: &ClipConfig,
        weights: &Weights,
        preprocess: &Preprocess,
        tokenizer: Option<&PromptTokenizer>,
    ) -> Result<Self> {
        let contents = contents(weights, config);
        let is_whole = contents.missing.is_empty() && contents.misshapen.is_empty();
        let numbers = match build::logit_numbers(weights, config) {
            Err(error) if is_whole => return Err(error),
            numbers => numbers.ok(),
        };
        Ok(Self {
            model,
            directory: None,
            commit: None,
            format: match config.names {
                TensorNames::TransformersClip => "CLIP (transformers)",
                TensorNames::TransformersSiglip => "SigLIP (transformers)",
                TensorNames::OpenClip(_) => "CLIP (open_clip)",
                TensorNames::TransformersVit(names) => match names.family {
                    VitFamily::Vit => "ViT (transformers)",
                    VitFamily::Dinov2 => "DINOv2 (transformers)",
                    VitFamily::Dinov2WithRegisters => "DINOv2 with registers (transformers)",
                },
                TensorNames::Timm(_) => "ViT (timm)",
            },
            vision: vision(config),
            text: config.text.as_ref().map(|tower| text(config, tower)),
            classifier: config.classifier.as_ref().map(classes),
            embedding: config.embedding,
            probability_kind: config.probability,
            logit_scale: numbers.map(|(scale, _)| scale),
            logit_bias: numbers.map(|(_, bias)| bias),
            recommended_method: config.recommended_method.clone(),
            preprocess: pixels(preprocess),
            tokenizer: tokenizer.map(PromptTokenizer::facts).transpose()?,
            weights: contents,
            files: Vec::new(),
        })
    }
}

/// A directory as `directory`, and as `directory_bytes` if it is not UTF-8 ([`serialize_path`]).
fn directory<S: Serializer>(directory: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match directory {
        Some(path) => serialize_path("directory", path, serializer),
        None => serializer.collect_map([("directory", ())]),
    }
}

fn blocks(config: &ClipConfig, tower: Tower, blocks: &TowerConfig) -> Blocks {
    Blocks {
        layers: blocks.layers,
        width: blocks.width,
        heads: blocks.heads,
        mlp_width: blocks.mlp_width,
        activation: blocks.activation.name(),
        layer_norm_epsilon: blocks.epsilon,
        parameters: build::parameters(config, tower),
    }
}

fn vision(config: &ClipConfig) -> Vision {
    let grid = config.vision.grid();
    Vision {
        blocks: blocks(config, Tower::Vision, &config.vision.tower),
        image_size: config.vision.image_size,
        patch: config.vision.patch,
        grid: [grid.rows, grid.columns],
        pooling: match config.vision.pooling {
            VisionPooling::ClassToken => "class token",
            VisionPooling::Attention => "attention",
            VisionPooling::MeanOfPatches | VisionPooling::MeanBeforeNorm | VisionPooling::MeanUnnormed => {
                "mean of patches"
            }
            VisionPooling::MeanOfTokens => "mean of tokens",
            VisionPooling::ClassTokenAndMean => "class token and mean of patches",
        },
    }
}

fn classes(classifier: &ClassifierConfig) -> Classes {
    let first = classifier.names.iter().take(3).cloned().collect();
    Classes { feature: classifier.feature, count: classifier.names.len(), first }
}

fn text(config: &ClipConfig, text: &TextConfig) -> Text {
    Text {
        blocks: blocks(config, Tower::Text, &text.tower),
        attention: match text.attention {
            TextAttention::Causal => "causal",
            TextAttention::Bidirectional => "bidirectional",
        },
        pooling: match text.pooling {
            TextPooling::End(_) => "end token",
            TextPooling::Last => "last token",
            TextPooling::First => "first token",
        },
    }
}

fn pixels(preprocess: &Preprocess) -> Pixels {
    let (resize, size) = match preprocess.resize {
        Resize::Keep => ("none", Vec::new()),
        Resize::Shortest(side) => ("shorter", vec![side]),
        Resize::Longest(side) => ("longer", vec![side]),
        Resize::Exact(size) => ("both", vec![size.width, size.height]),
    };
    Pixels {
        resize,
        size,
        crop: preprocess.crop.map(|crop| [crop.size.width, crop.size.height]),
        interpolation: match preprocess.resample {
            Resample::Nearest => "nearest",
            Resample::Lanczos => "lanczos",
            Resample::Bilinear => "bilinear",
            Resample::Bicubic => "bicubic",
            Resample::Box => "box",
            Resample::Hamming => "hamming",
        },
        mean: preprocess.mean,
        std: preprocess.std,
    }
}

fn contents(weights: &Weights, config: &ClipConfig) -> Contents {
    let Differences { missing, misshapen, unused, extra, ignored, hint } =
        weights.compare(&build::expected(config));
    let mut dtypes = BTreeMap::new();
    let tensors = weights.contents().into_iter().filter(|(name, _)| !ignored.contains(name));
    for (_, (dtype, shape)) in tensors {
        *dtypes.entry(dtype).or_insert(0) += shape.iter().map(|side| *side as u64).product::<u64>();
    }
    Contents {
        bytes: weights.bytes(),
        parameters: dtypes.values().sum(),
        dtypes,
        missing: missing.into_iter().map(|expected| expected.name).collect(),
        misshapen: misshapen.into_iter().map(|(wanted, found)| (wanted.name, wanted.shape, found)).collect(),
        unused,
        extra,
        ignored,
        prefix: weights.prefix().to_owned(),
        hint,
    }
}

/// Files that are known.
fn listed(files: Vec<ModelFile>) -> Vec<File> {
    files.into_iter().map(|file| File { name: file.name, bytes: file.size }).collect()
}

/// The files that make up the checkpoint in a directory.
fn files(directory: &Path) -> Result<Vec<File>> {
    let names = hub::listing(directory)?;
    // What could be opened has what is needed; a list that is empty for another reason would do no harm.
    let Ok(selection) = needed(&names) else { return Ok(Vec::new()) };
    let mut chosen = selection.files;
    if let Some(index) = selection.index {
        chosen.extend(shards(&read_text_file(&directory.join(index))?).unwrap_or_default());
    }
    let size = |name: String| {
        let path = directory.join(&name);
        match path.metadata() {
            Ok(metadata) => Ok(File { name, bytes: metadata.len() }),
            Err(source) => Err(Error::Read { path, source }),
        }
    };
    chosen.into_iter().map(size).collect()
}
