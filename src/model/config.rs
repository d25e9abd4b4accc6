//! `config.json` of a Hugging Face CLIP checkpoint becomes one checked [`ClipConfig`].
//!
//! What the file leaves out has the value that transformers' `CLIPTextConfig` and `CLIPVisionConfig` give it.
//! Values that describe something that is not supported are refused; nothing is guessed.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{
    error::{Error, Result},
    geometry::Grid,
};

/// The largest number of anything (width, layers, tokens) that a configuration may ask for.
///
/// It is some thirty times what the largest published CLIP has; more is a broken or hostile file, and would only
/// fail later, when memory runs out.
const LARGEST: u64 = 1 << 20;

/// The most blocks that a tower may have: each of them costs memory before a single weight is read.
const MOST_LAYERS: u64 = 1024;

/// The nonlinearity between the two layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · sigmoid(1.702 x), as in OpenAI's own checkpoints.
    QuickGelu,
    /// The exact GELU, with the error function.
    Gelu,
}

impl Activation {
    /// The name in `config.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        }
    }
}

/// The shape of a stack of transformer blocks.
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
}

/// Which token of a text is its summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfText {
    /// The first token with this id.
    Id(u32),
    /// The first token with the highest id of the text: configurations written before transformers 4.31 give
    /// `eos_token_id` as 2, which is not the id of any end token.
    Highest,
}

/// The text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// The blocks.
    pub tower: TowerConfig,
    /// Rows of the token embedding.
    pub vocabulary: usize,
    /// Tokens that the model reads, start and end token included.
    pub context: usize,
    /// Where the text's summary is taken.
    pub end: EndOfText,
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
}

impl VisionConfig {
    /// The square grid that the model was trained on.
    pub fn grid(&self) -> Grid {
        let side = self.image_size / self.patch;
        Grid::new(side, side)
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
    /// The bias of a sigmoid over logits, where the checkpoint was trained with one (an extension of the
    /// format: transformers ignores the key). It calibrates the verdict.
    pub logit_bias: Option<f64>,
    /// The method that works best with this checkpoint, where its authors measured it (an extension of the
    /// format, like the bias: `"fieldmark": {"method": "hires-cam"}`).
    pub recommended_method: Option<String>,
}

impl ClipConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, what was expected and what was found.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = super::read_text_file(path)?;
        Self::parse(&bytes, path)
    }

    /// Parses the bytes of a `config.json`; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Config`] names the field, what was expected and what was found.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let root: Value = serde_json::from_slice(bytes).map_err(|error| Error::Config {
            path: path.into(),
            reason: format!("not valid JSON: {error}"),
        })?;
        let Value::Object(root) = root else {
            return Err(Error::Config { path: path.into(), reason: "expected a JSON object".into() });
        };
        let top = Section { path, name: "", values: &root };
        top.expect_model_type("clip")?;
        let text = merged(&top, "text_config")?;
        let vision = merged(&top, "vision_config")?;
        Ok(Self {
            text: text_config(&Section { path, name: "text_config.", values: &text })?,
            vision: vision_config(&Section { path, name: "vision_config.", values: &vision })?,
            embedding: top.size("projection_dim", 512)?,
            logit_bias: top.optional_number("logit_bias")?,
            recommended_method: top.recommended_method()?,
        })
    }
}

/// A sub-configuration as transformers puts it together: where the old `*_config_dict` is there, its values
/// **and the defaults of what it leaves out** replace those of `*_config`.
fn merged(top: &Section, key: &str) -> Result<Map<String, Value>> {
    let plain = top.object(key)?;
    let old = top.object(&format!("{key}_dict"))?;
    Ok(old.or(plain).cloned().unwrap_or_default())
}

fn text_config(section: &Section) -> Result<TextConfig> {
    let end = match section.values.get("eos_token_id") {
        None | Some(Value::Null) => EndOfText::Id(49407),
        Some(Value::Array(ids)) => section.end_of_text(ids.first().unwrap_or(&Value::Null))?,
        Some(id) => section.end_of_text(id)?,
    };
    Ok(TextConfig {
        tower: tower_config(section, &TowerDefaults { width: 512, mlp_width: 2048, heads: 8 })?,
        vocabulary: section.size("vocab_size", 49408)?,
        context: section.size("max_position_embeddings", 77)?,
        end,
    })
}

fn vision_config(section: &Section) -> Result<VisionConfig> {
    let channels = section.size("num_channels", 3)?;
    if channels != 3 {
        return Err(section.error("num_channels", "3 (red, green and blue)", channels));
    }
    let image_size = section.size("image_size", 224)?;
    let patch = section.size("patch_size", 32)?;
    if patch > image_size {
        return Err(section.error("patch_size", format!("at most image_size {image_size}"), patch));
    }
    let tower = tower_config(section, &TowerDefaults { width: 768, mlp_width: 3072, heads: 12 })?;
    Ok(VisionConfig { tower, image_size, patch })
}

struct TowerDefaults {
    width: usize,
    mlp_width: usize,
    heads: usize,
}

fn tower_config(section: &Section, defaults: &TowerDefaults) -> Result<TowerConfig> {
    let width = section.size("hidden_size", defaults.width)?;
    let heads = section.size("num_attention_heads", defaults.heads)?;
    if width % heads != 0 {
        return Err(section.error("num_attention_heads", format!("a divisor of hidden_size {width}"), heads));
    }
    Ok(TowerConfig {
        width,
        mlp_width: section.size("intermediate_size", defaults.mlp_width)?,
        layers: section.size_up_to(MOST_LAYERS, "num_hidden_layers", 12)?,
        heads,
        activation: section.activation()?,
        epsilon: section.epsilon()?,
    })
}

/// One JSON object of the file, with its name for errors.
struct Section<'a> {
    path: &'a Path,
    name: &'static str,
    values: &'a Map<String, Value>,
}

impl Section<'_> {
    fn error(&self, key: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
        let reason = format!("{}{key}: expected {expected}, found {found}", self.name);
        Error::Config { path: self.path.into(), reason }
    }

    fn object(&self, key: &str) -> Result<Option<&Map<String, Value>>> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(values)) => Ok(Some(values)),
            Some(other) => Err(self.error(key, "an object", other)),
        }
    }

    fn size(&self, key: &str, default: usize) -> Result<usize> {
        self.size_up_to(LARGEST, key, default)
    }

    fn size_up_to(&self, largest: u64, key: &str, default: usize) -> Result<usize> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_u64() {
                Some(size) if (1..=largest).contains(&size) => Ok(size as usize),
                _ => Err(self.error(key, format!("a whole number from 1 to {largest}"), value)),
            },
        }
    }

    fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| self.error(key, "a number", value)),
        }
    }

    fn recommended_method(&self) -> Result<Option<String>> {
        let own = self.object("fieldmark")?.and_then(|own| own.get("method"));
        match own {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone())),
            Some(other) => Err(self.error("fieldmark.method", "a method's name", other)),
        }
    }

    fn epsilon(&self) -> Result<f64> {
        let epsilon = self.optional_number("layer_norm_eps")?.unwrap_or(1e-5);
        if (0.0..1.0).contains(&epsilon) {
            return Ok(epsilon);
        }
        Err(self.error("layer_norm_eps", "a number from 0 to 1", epsilon))
    }

    fn activation(&self) -> Result<Activation> {
        match self.values.get("hidden_act") {
            None | Some(Value::Null) => Ok(Activation::QuickGelu),
            Some(Value::String(name)) if name == "quick_gelu" => Ok(Activation::QuickGelu),
            Some(Value::String(name)) if name == "gelu" => Ok(Activation::Gelu),
            Some(other) => Err(self.error("hidden_act", "\"quick_gelu\" or \"gelu\"", other)),
        }
    }

    fn end_of_text(&self, id: &Value) -> Result<EndOfText> {
        match id.as_u64() {
            Some(2) => Ok(EndOfText::Highest),
            Some(id) if id <= u64::from(u32::MAX) => Ok(EndOfText::Id(id as u32)),
            _ => Err(self.error("eos_token_id", "a token id", id)),
        }
    }

    fn expect_model_type(&self, expected: &str) -> Result<()> {
        match self.values.get("model_type") {
            Some(Value::String(found)) if found == expected => Ok(()),
            None if self.values.contains_key("text_config") && self.values.contains_key("vision_config") => {
                Ok(())
            }
            found => {
                let found = found.map_or("none".to_owned(), ToString::to_string);
                Err(self.error("model_type", format!("\"{expected}\""), found))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ClipConfig> {
        ClipConfig::parse(text.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn short_sub_configurations_have_the_defaults_of_transformers() {
        let config =
            parse(r#"{"model_type": "clip", "text_config": {}, "vision_config": {"patch_size": 16}}"#);
        let config = config.expect("is valid");
        assert_eq!(config.vision.grid(), Grid::new(14, 14));
        assert_eq!((config.vision.tower.width, config.text.tower.width), (768, 512));
        assert_eq!((config.text.vocabulary, config.text.context), (49408, 77));
        assert_eq!(config.text.end, EndOfText::Id(49407));
        assert_eq!(config.embedding, 512);
    }

    #[test]
    fn the_old_dictionary_and_its_defaults_win() {
        let text = r#"{"model_type": "clip", "text_config": {"hidden_act": "gelu", "hidden_size": 16},
                       "text_config_dict": {"hidden_size": 64}, "vision_config": {}}"#;
        let config = parse(text).expect("is valid");
        assert_eq!(config.text.tower.width, 64);
        assert_eq!(config.text.tower.activation, Activation::QuickGelu);
    }

    #[test]
    fn the_legacy_end_token_means_the_highest_id() {
        let text = r#"{"model_type": "clip", "text_config": {"eos_token_id": 2}, "vision_config": {}}"#;
        assert_eq!(parse(text).expect("is valid").text.end, EndOfText::Highest);
    }

    #[test]
    fn errors_name_field_expectation_and_finding() {
        let cases = [
            (r#"{"model_type": "bert"}"#, r#"model_type: expected "clip", found "bert""#),
            (r#"[]"#, "expected a JSON object"),
            (
                r#"{"model_type": "clip", "text_config": {"num_attention_heads": 0}}"#,
                "text_config.num_attention_heads: expected a whole number from 1 to 1048576, found 0",
            ),
            (
                r#"{"model_type": "clip", "vision_config": {"num_attention_heads": 7}}"#,
                "vision_config.num_attention_heads: expected a divisor of hidden_size 768, found 7",
            ),
            (
                r#"{"model_type": "clip", "vision_config": {"hidden_act": "relu"}}"#,
                r#"vision_config.hidden_act: expected "quick_gelu" or "gelu", found "relu""#,
            ),
            (
                r#"{"model_type": "clip", "vision_config": {"patch_size": 256}}"#,
                "vision_config.patch_size: expected at most image_size 224, found 256",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
