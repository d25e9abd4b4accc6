//! The last layer of a classifier, as `config.json` describes it.

use serde_json::Value;

use super::{
    ClipConfig, ProbabilityKind, Projection, TensorNames, TextConfig, VisionConfig, section::Section,
};
use crate::{error::Result, feature::Feature, head::names_of};

/// The most classes that a configuration may name.
const MOST_CLASSES: usize = 1 << 20;

/// The last layer of a classifier: a linear layer on a feature of the vision tower.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClassifierConfig {
    /// The feature that the layer is on.
    pub feature: Feature,
    /// The names of the classes, in the order of the layer's rows.
    pub names: Vec<String>,
}

impl ClassifierConfig {
    /// Whether `architectures` names a class.
    pub(super) fn is_for(top: &Section, architecture: &str) -> bool {
        let listed = top.get("architectures").and_then(Value::as_array);
        listed.is_some_and(|listed| listed.iter().any(|name| name.as_str() == Some(architecture)))
    }

    /// The classes of a classifier of transformers': `id2label`, or as many as `num_labels` says, two by default.
    pub(super) fn read(top: &Section, feature: Feature) -> Result<Self> {
        let names = match top.get("id2label") {
            None => unnamed(top.size("num_labels", 2)?),
            Some(found) => {
                let expected = "an object with a name for every number from 0 on";
                let is_object = found.is_object();
                let names = names_of(found).filter(|names| is_object && !names.is_empty());
                names.ok_or_else(|| top.error("id2label", expected, "something else"))?
            }
        };
        Self::new(top, "id2label", feature, names)
    }

    /// Classes of these names, which `field` lists.
    pub(super) fn new(top: &Section, field: &str, feature: Feature, names: Vec<String>) -> Result<Self> {
        if names.len() > MOST_CLASSES {
            return Err(top.error(field, format!("at most {MOST_CLASSES} classes"), names.len()));
        }
        Ok(Self { feature, names })
    }
}

/// The names that transformers gives to classes without any.
pub(super) fn unnamed(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("LABEL_{index}")).collect()
}

impl ClipConfig {
    /// The configuration of a model that knows photos alone.
    pub(super) fn of_photos(
        vision: VisionConfig,
        names: TensorNames,
        classifier: Option<ClassifierConfig>,
    ) -> Self {
        Self {
            text: None,
            embedding: vision.tower.width,
            vision: VisionConfig { projection: Projection::None, ..vision },
            probability: ProbabilityKind::Softmax,
            logit_bias: None,
            presence: None,
            closed_vocabulary: None,
            recommended_method: None,
            names,
            classifier,
        }
    }

    /// The text tower of a configuration that has one.
    #[cfg(test)]
    pub(crate) fn text(&self) -> &TextConfig {
        self.text.as_ref().expect("has a text tower")
    }

    /// Whether this is a model of pictures alone, without a text tower.
    pub fn is_vision_only(&self) -> bool {
        let text: Option<&TextConfig> = self.text.as_ref();
        text.is_none()
    }
}
