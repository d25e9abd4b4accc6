//! A checkpoint's own configuration becomes one checked [`ClipConfig`], whatever library wrote it.
//!
//! The types here describe towers neutrally: what is there, not what a library calls it. One file a format says how
//! its words become these types; values that describe something that is not supported are refused, and nothing is
//! guessed.

mod open_clip;
mod section;
mod side;
mod timm;
mod transformers;
mod vocabulary;

use std::path::Path;

use serde_json::Value;

pub use super::names::{OpenClipNames, TensorNames, TimmNames, VisionNames};
use super::read_config_file;
pub use crate::model::text::cleaning::Cleaning;
use crate::{
    error::Result,
    geometry::Grid,
    json::{ConfigFile, parse_object},
};
pub use open_clip::OpenClipConfig;
pub(crate) use section::Section;
pub use vocabulary::ClosedVocabulary;

/// The nonlinearity between the two layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// x · sigmoid(1.702 x), as in OpenAI's own checkpoints.
    QuickGelu,
    /// The exact GELU, with the error function.
    Gelu,
    /// The GELU with a hyperbolic tangent in the place of the error function, as SigLIP has it.
    GeluTanh,
}

impl Activation {
    /// Every activation that is supported.
    pub const ALL: [Self; 3] = [Self::QuickGelu, Self::Gelu, Self::GeluTanh];

    /// The names in `config.json`, as transformers' table of activations defines them. Several stand for one function:
    /// `gelu_new`, `gelu_accurate`, `gelu_fast` and `gelu_pytorch_tanh` are the same formula, with its constants written
    /// out to different lengths, beyond what float32 distinguishes.
    pub const NAMES: [(&str, Self); 7] = [
        ("quick_gelu", Self::QuickGelu),
        ("gelu", Self::Gelu),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("gelu_new", Self::GeluTanh),
        ("gelu_fast", Self::GeluTanh),
        ("gelu_accurate", Self::GeluTanh),
        ("gelu_python", Self::Gelu),
    ];

    /// The activation that `config.json` calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }

    /// The most usual of its names in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
        }
    }
}

/// The shape of a stack of pre-norm transformer blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerConfig {
    /// Numbers in a token.
    pub width: usize,
    /// Numbers in the hidden layer of an MLP.
    pub mlp_width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// The nonlinearity of the MLPs.
    pub activation: Activation,
    /// What is added to the variance in layer norms.
    pub epsilon: f64,
    /// Whether what a block adds to the residual stream is scaled by learned numbers, one a channel (`ls_1` and
    /// `ls_2` in open_clip, `LayerScale` in timm).
    pub layer_scale: bool,
}

/// The linear layer between a tower's summary and the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Projection {
    /// There is none: the summary is the embedding.
    None,
    /// A matrix.
    Linear,
    /// A matrix and a bias.
    LinearWithBias,
}

/// Which token of a text is its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOfText {
    /// The first token with this id.
    Id(u32),
    /// The first token with the highest id of the text: configurations written before transformers 4.31 give
    /// `eos_token_id` as 2, which is not the id of any end token.
    Highest,
}

/// Which token of a text becomes its embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextPooling {
    /// The end token.
    End(EndOfText),
    /// The last position of the context, which is a padding token unless the text fills it.
    Last,
    /// The first token.
    First,
}

/// Which tokens of a text a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextAttention {
    /// Itself and those before it, so padding behind the end token has no effect.
    Causal,
    /// All of them, **padding too**: texts are padded to the context, since that is how the model was trained.
    Bidirectional,
}

/// Who splits a text into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Splitter {
    /// The tokenizer in the checkpoint's files, whatever it is.
    Files,
    /// open_clip's own: CLIP's byte pairs, from the checkpoint's files or, where it has none, OpenAI's vocabulary.
    OpenClip,
}

/// The text tower.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TextConfig {
    /// The blocks.
    pub tower: TowerConfig,
    /// Rows of the token embedding.
    pub vocabulary: usize,
    /// Tokens that the model reads, special tokens included.
    pub context: usize,
    /// Which tokens a token sees.
    pub attention: TextAttention,
    /// Where the text's summary is taken.
    pub pooling: TextPooling,
    /// From there to the embedding.
    pub projection: Projection,
    /// The token that fills up a text, where the configuration has one; the tokenizer's own files come first.
    pub pad: Option<u32>,
    /// Who splits texts.
    pub splitter: Splitter,
    /// What becomes of a text before it is split.
    pub cleaning: Cleaning,
}

impl TextConfig {
    /// Whether the model must be given texts as long as its context, because it sees the padding.
    pub fn sees_padding(&self) -> bool {
        self.attention == TextAttention::Bidirectional || self.pooling == TextPooling::Last
    }
}

/// How the vision tower's tokens, after its last norm unless it says otherwise, become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VisionPooling {
    /// The class token.
    ClassToken,
    /// Multi-head attention by one learned query, then an MLP with a residual: SigLIP's "MAP head".
    Attention,
    /// The mean of the patches.
    MeanOfPatches,
    /// The mean of the patches, with the last norm behind it instead of before it.
    MeanBeforeNorm,
}

/// The vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// The blocks.
    pub tower: TowerConfig,
    /// The side of the square that the model was trained on, in pixels.
    pub image_size: usize,
    /// The side of a patch, in pixels.
    pub patch: usize,
    /// Whether a class token goes before the patches.
    pub class_token: bool,
    /// Whether the patch embedding has a bias.
    pub patch_bias: bool,
    /// Whether there is a layer norm before the first block.
    pub pre_norm: bool,
    /// How the tokens become one vector.
    pub pooling: VisionPooling,
    /// From there to the embedding.
    pub projection: Projection,
}

impl VisionConfig {
    /// The square grid that the model was trained on.
    pub fn grid(&self) -> Grid {
        let side = self.image_size / self.patch;
        Grid::new(side, side)
    }

    /// How many tokens go before the patches: 1 with a class token, else 0.
    pub fn prefix_tokens(&self) -> usize {
        usize::from(self.class_token)
    }
}

/// What a probability of this checkpoint means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbabilityKind {
    /// The softmax of the logits over the prompts that compete: which of them fits best. They sum to 1.
    Softmax,
    /// The sigmoid of each logit, bias included: whether that prompt fits, whatever the others. SigLIP was trained
    /// so; its probabilities are often small for a prompt that fits well.
    Sigmoid,
}

crate::named!(ProbabilityKind, "probability kind", Softmax => "softmax", Sigmoid => "sigmoid");

/// Between which probabilities sigmoid(logit + bias) tells whether a concept is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PresenceBounds {
    /// From this probability on, the concept is present.
    pub present: f64,
    /// Below this probability, the concept is absent.
    pub absent: f64,
}

impl Default for PresenceBounds {
    /// For checkpoints whose configuration has a bias but no bounds of its own: a rule of thumb.
    fn default() -> Self {
        Self { present: 0.5, absent: 0.3 }
    }
}

/// Everything that a checkpoint's configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The text tower.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Numbers in an embedding.
    pub embedding: usize,
    /// What the checkpoint's probabilities mean. With a sigmoid, the weights have a `logit_bias` that is part of
    /// every logit.
    pub probability: ProbabilityKind,
    /// A bias that turns logits into the probability that the concept is there, beside the logits themselves: an
    /// extension of the format, which transformers ignores. It calibrates the verdict and nothing else.
    pub logit_bias: Option<f64>,
    /// The bounds of the verdict where the checkpoint's probability is calibrated (an extension too:
    /// `"fieldmark": {"present": 0.5, "absent": 0.3}`); they default to [`PresenceBounds::default`] with
    /// `logit_bias`, and to none without.
    pub presence: Option<PresenceBounds>,
    /// The words that the checkpoint knows, where it knows no others (an extension too:
    /// `"fieldmark": {"vocabulary": ["a", "bird"]}`). The verdict on a prompt with any other word is unknown.
    pub closed_vocabulary: Option<ClosedVocabulary>,
    /// The method that works best with this checkpoint, where its authors measured it (an extension of the
    /// format, like the bias: `"fieldmark": {"method": "hires-cam"}`).
    pub recommended_method: Option<String>,
    /// What the weights call their tensors.
    pub names: TensorNames,
}

impl ClipConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, what was expected and what was found.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_config_file(path)?;
        Self::parse(&bytes, path)
    }

    /// Parses the bytes of a `config.json`; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, what was expected and what was found.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        transformers::parse(&parse_object(bytes, &ConfigFile(path))?, path)
    }
}

/// Whether a `config.json` is for other code than transformers' own: it names classes that come with the checkpoint
/// (`auto_map`), or cannot be read as one of the models that are supported.
pub(crate) fn is_foreign(path: &Path) -> bool {
    let Ok(values) = read_config_file(path).and_then(|bytes| parse_object(&bytes, &ConfigFile(path))) else {
        return true;
    };
    let classes = values.get("auto_map").and_then(Value::as_object);
    let names_model = classes.is_some_and(|classes| classes.contains_key("AutoModel"));
    names_model || transformers::parse(&values, path).is_err()
}
