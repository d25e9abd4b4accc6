//! The whole of a checkpoint's configuration.

use std::path::Path;

use serde_json::Value;

use super::{ClassifierConfig, ClosedVocabulary, TensorNames, TextConfig, VisionConfig, transformers};
use crate::{
    error::Result,
    json::{ConfigFile, parse_object},
    model::formats::read_config_file,
};

/// What a probability of this checkpoint means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbabilityKind {
    /// The softmax of the logits over the prompts that compete: which of them fits best. They sum to 1.
    Softmax,
    /// The sigmoid of each logit, bias included: whether that prompt fits, independent of the others. SigLIP was trained
    /// so; its probabilities are often small for a prompt that fits well.
    Sigmoid,
}

crate::named!(ProbabilityKind, "probability kind", Softmax => "softmax", Sigmoid => "sigmoid");

/// The probabilities, sigmoid(logit + bias), below which a concept is absent and above which it is present.
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
    /// The text tower; none of a model that knows photos alone.
    pub text: Option<TextConfig>,
    /// The vision tower.
    pub vision: VisionConfig,
    /// Numbers in an embedding.
    pub embedding: usize,
    /// What the checkpoint's probabilities mean. With a sigmoid, the weights have a `logit_bias` that is part of
    /// every logit.
    pub probability: ProbabilityKind,
    /// A bias that turns logits into the probability that the concept is in the photo, beside the logits themselves: an
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
    /// The last layer of a classifier, where the checkpoint is one.
    pub classifier: Option<ClassifierConfig>,
}

impl ClipConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) names the field, what was expected and what was found.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_config_file(path)?;
        Self::parse(&bytes, path)
    }

    /// Parses the bytes of a `config.json`; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Config`](crate::error::Error::Config) names the field, what was expected and what was found.
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
