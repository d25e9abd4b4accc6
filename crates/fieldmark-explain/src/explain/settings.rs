//! What is asked: a target, its rivals, and how the map is made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layers::Layers;
use crate::{
    objective::{
        self, Strength,
        references::{By, SYNONYM_THRESHOLD},
    },
    prompt::{ConceptList, Template},
    refine::{Artifacts, Refinement, Tiles},
    regions::Threshold,
    report::{BestUsed, ListUsed, RivalsUsed, Setup},
};
use fieldmark_model::{
    device::{DeviceChoice, Precision},
    error::{Error, Result},
    geometry::Fit,
    model::hub::HubOptions,
};

/// How a checkpoint is found and where it runs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The Hub and its cache.
    pub hub: HubOptions,
    /// Where to compute.
    pub device: DeviceChoice,
    /// With how many digits the trunk multiplies.
    pub precision: Precision,
    /// A folder in which the embeddings of texts are kept from one run to the next, so that texts that were embedded
    /// before need no text tower; it is made if it is missing, and may have up to 256 MiB. None: nothing is kept.
    /// Of prompts, only hashes are written.
    pub text_cache: Option<PathBuf>,
}

fieldmark_model::setters!(LoadOptions {
    hub: HubOptions,
    device: DeviceChoice,
    precision: Precision,
    text_cache: Option<PathBuf>,
});

/// How maps are made, for any prompt.
///
/// In JSON, what is missing is the default; `layer`, `layers` and `layers_combine` are the fields of [`Layers`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// How much of the references is subtracted.
    #[cfg_attr(feature = "schema", schemars(with = "f64"))]
    pub strength: Strength,
    /// The objective's name: see [`objective::OBJECTIVES`].
    pub aggregate: String,
    /// The method's name: see [`crate::attribution::METHODS`]. None: what the checkpoint recommends, else the first.
    pub method: Option<String>,
    /// Which blocks the map explains.
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(with = "super::layers::Fields"))]
    pub layers: Layers,
    /// How the photo is fitted to the model.
    pub fit: Fit,
    /// How many times the trained resolution [`Fit::Whole`] uses along each side.
    pub detail: f64,
    /// Whether the photo is looked at in tiles, too.
    pub tiles: Tiles,
    /// How evidence on tokens that do not describe their place is handled.
    pub artifacts: Artifacts,
    /// What is done with the finished map; the order here does not matter: see [`Refinement::ALL`].
    pub refine: Vec<Refinement>,
    /// Which evidence is strong enough for a region.
    pub threshold: Threshold,
    /// How prompts are phrased; the embeddings of several are averaged.
    pub templates: Vec<Template>,
}

fieldmark_model::setters!(Settings {
    strength: Strength,
    aggregate: String,
    method: Option<String>,
    layers: Layers,
    fit: Fit,
    detail: f64,
    tiles: Tiles,
    artifacts: Artifacts,
    refine: Vec<Refinement>,
    threshold: Threshold,
    templates: Vec<Template>,
});

impl Settings {
    /// The same with one block, or with the method's own choice; negative counts from the end.
    #[must_use]
    pub fn layer(self, block: impl Into<Option<i64>>) -> Self {
        self.layers(block.into().into())
    }
}

/// The settings that a result was made with, as far as they were in force: those that give it again.
impl TryFrom<&Setup> for Settings {
    type Error = Error;

    fn try_from(setup: &Setup) -> Result<Self> {
        let layers = match &setup.layers[..] {
            [] | [_] => Layers::One(setup.layer),
            blocks => Layers::several(blocks, setup.layers_combine.unwrap_or_default()),
        };
        Ok(Self {
            strength: Strength::new(setup.strength)?,
            aggregate: setup.aggregate.clone(),
            method: Some(setup.method.clone()),
            layers,
            fit: setup.fit,
            detail: setup.detail,
            tiles: setup.tiles_asked,
            artifacts: setup.artifacts.as_ref().map_or(Artifacts::Keep, |found| found.handling),
            refine: setup.refined.clone(),
            threshold: setup.threshold,
            templates: setup.templates.clone(),
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strength: Strength::default(),
            aggregate: objective::OBJECTIVES[0].name().into(),
            method: None,
            layers: Layers::default(),
            fit: Fit::default(),
            detail: 1.0,
            tiles: Tiles::default(),
            artifacts: Artifacts::default(),
            refine: Vec::new(),
            threshold: Threshold::default(),
            templates: vec![Template::default()],
        }
    }
}

/// Rivals that are to be found among the concepts of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Rivals {
    /// The list; in JSON it is the text of its file.
    pub concepts: ConceptList,
    /// How they are chosen.
    pub by: By,
    /// How many, at least 1; fewer where the list has no more to offer.
    #[serde(rename = "nearest")]
    pub count: usize,
    /// Concepts whose text has a larger cosine with the target's are taken for synonyms and passed over; -1 to 1, and
    /// 1 passes over none. What the target belongs to is never passed over.
    pub synonym_threshold: f64,
    /// The list's name or file, which results record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
}

fieldmark_model::setters!(Rivals {
    concepts: ConceptList,
    by: By,
    count: usize,
    synonym_threshold: f64,
    list: Option<String>,
});

impl Rivals {
    /// The three concepts that are most similar to the target by text.
    pub fn among(concepts: ConceptList) -> Self {
        Self { concepts, by: By::default(), count: 3, synonym_threshold: SYNONYM_THRESHOLD, list: None }
    }

    /// As results record it.
    pub(super) fn used(&self) -> RivalsUsed {
        RivalsUsed {
            list: ListUsed::new(self.list.clone(), &self.concepts),
            by: self.by,
            nearest: self.count,
            synonym_threshold: self.synonym_threshold,
        }
    }

    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<()> {
        if self.count == 0 {
            let reason = "expected at least 1, found 0".into();
            return Err(Error::Option { option: "nearest", reason });
        }
        if (-1.0..=1.0).contains(&self.synonym_threshold) {
            return Ok(());
        }
        let reason = format!("expected a cosine from -1 to 1, found {}", self.synonym_threshold);
        Err(Error::Option { option: "synonym threshold", reason })
    }
}

/// What is asked: a target, its rivals, and how.
///
/// In JSON the target is `prompt`, the references are `against`, and the settings stand beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Query {
    /// The concept asked about.
    #[serde(rename = "prompt")]
    pub target: String,
    /// Its rivals. None of them may be the target itself.
    #[serde(default, rename = "against")]
    pub references: Vec<String>,
    /// Further rivals, to be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rivals: Option<Rivals>,
    /// How the map is made.
    #[serde(flatten)]
    pub settings: Settings,
}

impl Query {
    /// Asks about a concept, with the default settings and no rivals.
    pub fn new(target: impl Into<String>) -> Self {
        Self { target: target.into(), ..Self::default() }
    }

    /// Adds rivals.
    #[must_use]
    pub fn against<T: Into<String>>(mut self, references: impl IntoIterator<Item = T>) -> Self {
        self.references.extend(references.into_iter().map(Into::into));
        self
    }

    /// Adds rivals that are to be found in a list.
    ///
    /// ```
    /// use fieldmark::{Query, explain::Rivals, prompt::ConceptList};
    ///
    /// # fn main() -> fieldmark::Result<()> {
    /// let birds = ConceptList::open("birds")?; // a list that ships, or a file
    /// let query = Query::new("rusty blackbird").with_rivals(Rivals::among(birds));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_rivals(mut self, rivals: Rivals) -> Self {
        self.rivals = Some(rivals);
        self
    }

    /// The same question about another concept.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Replaces the settings.
    #[must_use]
    pub fn with(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets how much of the rivals is subtracted: 0 gives the plain map.
    ///
    /// # Errors
    /// [`Error::Option`] if it is negative or not finite.
    pub fn strength(mut self, strength: f64) -> Result<Self> {
        self.settings.strength = Strength::new(strength)?;
        Ok(self)
    }

    /// Sets the method, by its name: see [`crate::attribution::METHODS`].
    #[must_use]
    pub fn method(mut self, name: impl Into<String>) -> Self {
        self.settings.method = Some(name.into());
        self
    }

    /// Sets the objective, by its name: see [`objective::OBJECTIVES`].
    #[must_use]
    pub fn aggregate(mut self, name: impl Into<String>) -> Self {
        self.settings.aggregate = name.into();
        self
    }

    /// Sets the block that is explained; negative counts from the end.
    #[must_use]
    pub fn layer(mut self, layer: i64) -> Self {
        self.settings.layers = layer.into();
        self
    }

    /// Sets which blocks are explained.
    #[must_use]
    pub fn layers(mut self, layers: Layers) -> Self {
        self.settings.layers = layers;
        self
    }

    /// Sets how many times the trained resolution is used along each side.
    #[must_use]
    pub fn detail(mut self, factor: f64) -> Self {
        self.settings.detail = factor;
        self
    }

    /// Sets how prompts are phrased, such as `"a photo of a {}."`; the embeddings of several are averaged.
    ///
    /// # Errors
    /// As [`Template::new`].
    pub fn templates<T: AsRef<str>>(mut self, templates: impl IntoIterator<Item = T>) -> Result<Self> {
        self.settings.templates =
            templates.into_iter().map(|template| Template::new(template.as_ref())).collect::<Result<_>>()?;
        Ok(self)
    }
}

/// What competes on one photo, and what of it is looked at more closely.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CompareQuery {
    /// Prompts that get a map each.
    pub prompts: Vec<String>,
    /// Concepts that compete too. Those with the same words as a prompt are left out.
    pub concepts: Vec<String>,
    /// How many of the concepts get a map: those with the highest logits.
    pub top: usize,
    /// Which pairs of prompts with a map are compared.
    pub pairs: Pairs,
    /// The list that the concepts are from, which results record.
    pub list: Option<ListUsed>,
}

fieldmark_model::setters!(CompareQuery {
    prompts: Vec<String>,
    concepts: Vec<String>,
    top: usize,
    pairs: Pairs,
    list: Option<ListUsed>,
});

impl CompareQuery {
    /// As results record it.
    pub(super) fn used(&self) -> Option<BestUsed> {
        self.list.clone().map(|list| BestUsed { list, top: self.top })
    }
}

/// Which pairs of prompts are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pairs {
    /// None.
    #[default]
    None,
    /// Every prompt that has a map and every other, in both orders.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Combination;

    /// Settings of which none is the default.
    fn other() -> Settings {
        Settings {
            strength: Strength::new(0.25).unwrap(),
            aggregate: "weighted".into(),
            method: Some("layer-cam".into()),
            layers: Layers::several([-3, -1], Combination::Product),
            fit: Fit::Crop,
            detail: 1.5,
            tiles: Tiles::Along(3.try_into().unwrap()),
            artifacts: Artifacts::Suppress,
            refine: vec![Refinement::Affinity, Refinement::Guided],
            threshold: Threshold::Share(0.8),
            templates: vec![Template::new("a photo of a {}.").unwrap()],
        }
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let expected = serde_json::json!({
            "strength": 0.25, "aggregate": "weighted", "method": "layer-cam", "layer": null, "layers": [-3, -1],
            "layers_combine": "product", "fit": "crop", "detail": 1.5, "tiles": "3", "artifacts": "suppress",
            "refine": ["affinity", "guided"], "threshold": "share:0.8", "templates": ["a photo of a {}."]
        });
        assert_eq!(serde_json::to_value(other()).unwrap(), expected);
        for settings in [other(), Settings::default()] {
            let json = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        }
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }

    #[test]
    fn a_query_is_read_as_it_is_written() {
        let concepts = ConceptList::open("blackbirds").unwrap();
        let rivals = Rivals { by: By::Image, count: 2, ..Rivals::among(concepts) };
        let query = Query::new("rusty blackbird").against(["reed"]).with_rivals(rivals).with(other());
        let json = serde_json::to_string(&query).unwrap();
        assert_eq!(serde_json::from_str::<Query>(&json).unwrap(), query);
        let short = serde_json::from_str::<Query>(r#"{"prompt": "reed", "strength": 0.3}"#).unwrap();
        let strength = Strength::new(0.3).unwrap();
        assert_eq!(short, Query::new("reed").with(Settings { strength, ..Settings::default() }));
    }

    #[test]
    fn json_is_checked_as_options_are() {
        let error = |json: &str| serde_json::from_str::<Settings>(json).unwrap_err().to_string();
        assert!(error(r#"{"strength": -1}"#).starts_with("strength: expected a number that is not negative"));
        assert!(error(r#"{"tiles": "many"}"#).starts_with("tiles: expected a number of tiles"));
        assert!(error(r#"{"templates": ["a photo"]}"#).starts_with("template: expected a text with {}"));
        assert!(error(r#"{"fit": "Whole"}"#).starts_with("fit: expected whole, squash or crop"));
        assert!(error(r#"{"threshold": "peak:2"}"#).starts_with("threshold: expected peak:X"));
        assert!(error(r#"{"refine": ["crf"]}"#).starts_with("refine: expected affinity or guided"));
    }
}
