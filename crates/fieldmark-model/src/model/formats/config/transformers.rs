//! `config.json` as transformers writes it for a `CLIPModel` or a `SiglipModel`, or a classifier made of its vision tower.
//!
//! What the file leaves out has the value that transformers' configuration classes give it: `CLIPTextConfig` and
//! `CLIPVisionConfig`, or `SiglipTextConfig` and `SiglipVisionConfig`. SigLIP 2 of a fixed resolution has the model
//! type of SigLIP; with a free one (NaFlex) it has a type of its own, and is refused.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Activation, ClassifierConfig, Cleaning, ClipConfig, ClosedVocabulary, EndOfText, PositionResampling,
    PresenceBounds, ProbabilityKind, Projection, Splitter, TextAttention, TextConfig, TextPooling,
    TowerConfig, VisionConfig, VisionPooling, section::Section, transformers_vit,
};
use crate::{
    error::Result,
    feature::Feature,
    json::ConfigFile,
    model::formats::names::{TensorNames, VitFamily},
};

/// Which of transformers' models a file is for.
#[derive(Clone, Copy)]
enum Family {
    Clip,
    Siglip,
    Vit(VitFamily),
}

/// What transformers' classes say where a file says nothing.
pub(super) struct Defaults {
    pub(super) width: usize,
    pub(super) mlp_width: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

const CLIP_TEXT: Defaults =
    Defaults { width: 512, mlp_width: 2048, heads: 8, activation: Activation::QuickGelu, epsilon: 1e-5 };
const CLIP_VISION: Defaults = Defaults { width: 768, mlp_width: 3072, heads: 12, ..CLIP_TEXT };
/// Both towers of SigLIP have the same.
const SIGLIP: Defaults = Defaults { activation: Activation::GeluTanh, epsilon: 1e-6, ..CLIP_VISION };

/// Reads the fields of a whole file; `path` is only named in errors.
pub(super) fn parse(root: &Map<String, Value>, path: &Path) -> Result<ClipConfig> {
    let top = Section::new(root, ConfigFile(path));
    let family = family(&top)?;
    if let Family::Vit(family) = family {
        return transformers_vit::parse(&top, family);
    }
    if let Some(classifier) = classifier(&top, family)? {
        return Ok(classifier);
    }
    let (text, vision) = (merged(&top, "text_config", family)?, merged(&top, "vision_config", family)?);
    let text = top.inner(&text, "text_config.");
    let vision = top.inner(&vision, "vision_config.");
    match family {
        Family::Clip => clip(&top, &text, &vision),
        _ => siglip(&top, &text, &vision),
    }
}

/// `CLIPForImageClassification` or `SiglipForImageClassification`: the vision tower and a layer on the mean of what
/// transformers calls its last hidden state, which CLIP's last norm has not passed.
fn classifier(top: &Section, family: Family) -> Result<Option<ClipConfig>> {
    let (architecture, feature, names) = match family {
        Family::Clip => {
            ("CLIPForImageClassification", Feature::MeanPatchesRaw, TensorNames::TransformersClip)
        }
        _ => ("SiglipForImageClassification", Feature::MeanTokens, TensorNames::TransformersSiglip),
    };
    if !ClassifierConfig::is_for(top, architecture) {
        return Ok(None);
    }
    let vision = merged(top, "vision_config", family)?;
    let vision = top.inner(&vision, "vision_config.");
    let mut config = match family {
        Family::Clip => VisionConfig {
            class_token: true,
            patch_bias: false,
            pre_norm: true,
            pooling: VisionPooling::ClassToken,
            ..plain_vision(&vision, &CLIP_VISION, 32)?
        },
        _ => plain_vision(&vision, &SIGLIP, 16)?,
    };
    if !vision.flag("vision_use_head")?.unwrap_or(true) {
        config.pooling = VisionPooling::MeanOfTokens;
    }
    let classifier = ClassifierConfig::read(top, feature)?;
    Ok(Some(ClipConfig::of_photos(config, names, Some(classifier))))
}

fn family(top: &Section) -> Result<Family> {
    let expected = "\"clip\", \"siglip\", \"vit\", \"dinov2\" or \"dinov2_with_registers\"";
    match top.get("model_type") {
        Some(Value::String(found)) if found == "clip" => Ok(Family::Clip),
        Some(Value::String(found)) if found == "siglip" => Ok(Family::Siglip),
        Some(Value::String(found)) if found == "vit" => Ok(Family::Vit(VitFamily::Vit)),
        Some(Value::String(found)) if found == "dinov2" => Ok(Family::Vit(VitFamily::Dinov2)),
        Some(Value::String(found)) if found == "dinov2_with_registers" => {
            Ok(Family::Vit(VitFamily::Dinov2WithRegisters))
        }
        Some(Value::String(found)) if found.starts_with("dinov3") => {
            let reason = format!("{found:?} (DINOv3, whose positions are rotations)");
            Err(top.error("model_type", expected, reason))
        }
        Some(Value::String(found)) if found == "siglip2" => {
            Err(top.error("model_type", expected, "\"siglip2\" (NaFlex, which has no fixed resolution)"))
        }
        None if top.get("text_config").is_some() && top.get("vision_config").is_some() => Ok(Family::Clip),
        found => Err(top.error("model_type", expected, found.map_or("none".to_owned(), ToString::to_string))),
    }
}

/// A sub-configuration as transformers puts it together: where CLIP's old `*_config_dict` is there, its values
/// **and the defaults of what it leaves out** replace those of `*_config`.
fn merged(top: &Section, key: &str, family: Family) -> Result<Map<String, Value>> {
    let plain = top.object(key)?;
    let old = match family {
        Family::Clip => top.object(&format!("{key}_dict"))?,
        _ => None,
    };
    Ok(old.or(plain).cloned().unwrap_or_default())
}

fn clip(top: &Section, text: &Section, vision: &Section) -> Result<ClipConfig> {
    let logit_bias = top.number("logit_bias")?;
    let own = Own::read(top)?;
    Ok(ClipConfig {
        text: Some(TextConfig {
            tower: tower(text, &CLIP_TEXT)?,
            vocabulary: text.size("vocab_size", 49408)?,
            context: text.size("max_position_embeddings", 77)?,
            attention: TextAttention::Causal,
            pooling: TextPooling::End(end_of_text(text)?),
            projection: Projection::Linear,
            pad: None,
            splitter: Splitter::Files,
            cleaning: Cleaning::None,
        }),
        vision: VisionConfig {
            class_token: true,
            patch_bias: false,
            pre_norm: true,
            pooling: VisionPooling::ClassToken,
            projection: Projection::Linear,
            ..plain_vision(vision, &CLIP_VISION, 32)?
        },
        embedding: top.size("projection_dim", 512)?,
        probability: ProbabilityKind::Softmax,
        presence: logit_bias.map(|_| own.presence.unwrap_or_default()),
        closed_vocabulary: own.vocabulary,
        logit_bias,
        recommended_method: own.method,
        names: TensorNames::TransformersClip,
        classifier: None,
    })
}

fn siglip(top: &Section, text: &Section, vision: &Section) -> Result<ClipConfig> {
    if !vision.flag("vision_use_head")?.unwrap_or(true) {
        return Err(vision.error("vision_use_head", "true", false));
    }
    let own = Own::read(top)?;
    let text_tower = tower(text, &SIGLIP)?;
    let vision_config = plain_vision(vision, &SIGLIP, 16)?;
    let embedding = text.size("projection_size", text_tower.width)?;
    if embedding != vision_config.tower.width {
        let expected = format!("vision_config.hidden_size {}", vision_config.tower.width);
        return Err(text.error("projection_size", expected, embedding));
    }
    Ok(ClipConfig {
        text: Some(TextConfig {
            tower: text_tower,
            vocabulary: text.size("vocab_size", 32000)?,
            context: text.size("max_position_embeddings", 64)?,
            attention: TextAttention::Bidirectional,
            pooling: TextPooling::Last,
            projection: Projection::LinearWithBias,
            pad: Some(text.get("pad_token_id").map_or(Ok(1), |id| token_id(text, "pad_token_id", id))?),
            splitter: Splitter::Files,
            cleaning: Cleaning::None,
        }),
        vision: vision_config,
        embedding,
        probability: ProbabilityKind::Sigmoid,
        logit_bias: None,
        presence: own.presence,
        closed_vocabulary: own.vocabulary,
        recommended_method: own.method,
        names: TensorNames::TransformersSiglip,
        classifier: None,
    })
}

/// A vision tower as in SigLIP: without class token and norm before the blocks.
pub(super) fn plain_vision(section: &Section, defaults: &Defaults, patch: usize) -> Result<VisionConfig> {
    let channels = section.size("num_channels", 3)?;
    if channels != 3 {
        return Err(section.error("num_channels", "3 (red, green and blue)", channels));
    }
    let image_size = section.size("image_size", 224)?;
    let patch = section.size("patch_size", patch)?;
    if patch > image_size {
        return Err(section.error("patch_size", format!("at most image_size {image_size}"), patch));
    }
    Ok(VisionConfig {
        tower: tower(section, defaults)?,
        image_size,
        patch,
        class_token: false,
        registers: 0,
        class_position: true,
        position_resampling: PositionResampling::Bicubic,
        patch_bias: true,
        pre_norm: false,
        pooling: VisionPooling::Attention,
        projection: Projection::None,
    })
}

fn tower(section: &Section, defaults: &Defaults) -> Result<TowerConfig> {
    let width = section.size("hidden_size", defaults.width)?;
    let heads = section.size("num_attention_heads", defaults.heads)?;
    if width % heads != 0 {
        return Err(section.error("num_attention_heads", format!("a divisor of hidden_size {width}"), heads));
    }
    Ok(TowerConfig {
        width,
        mlp_width: section.size("intermediate_size", defaults.mlp_width)?,
        layers: section.layers("num_hidden_layers", 12)?,
        heads,
        activation: section.activation("hidden_act", defaults.activation)?,
        epsilon: section.epsilon("layer_norm_eps", defaults.epsilon)?,
        layer_scale: false,
        gated: false,
    })
}

fn end_of_text(section: &Section) -> Result<EndOfText> {
    let id = match section.get("eos_token_id") {
        None => return Ok(EndOfText::Id(49407)),
        Some(Value::Array(ids)) => ids.first().unwrap_or(&Value::Null),
        Some(id) => id,
    };
    match token_id(section, "eos_token_id", id)? {
        2 => Ok(EndOfText::Highest),
        id => Ok(EndOfText::Id(id)),
    }
}

fn token_id(section: &Section, key: &str, id: &Value) -> Result<u32> {
    let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
    number.ok_or_else(|| section.error(key, "a token id", id))
}

/// The block `fieldmark`: what a checkpoint's authors recommend to this library, and transformers ignores.
struct Own {
    method: Option<String>,
    presence: Option<PresenceBounds>,
    vocabulary: Option<ClosedVocabulary>,
}

impl Own {
    fn read(top: &Section) -> Result<Self> {
        let empty = Map::new();
        let values = top.object("fieldmark")?.unwrap_or(&empty);
        let own = top.inner(values, "fieldmark.");
        let presence = match (own.share("present")?, own.share("absent")?) {
            (None, None) => None,
            (Some(present), Some(absent)) if absent <= present => Some(PresenceBounds { present, absent }),
            (present, absent) => {
                let shown = |bound: Option<f64>| bound.map_or("none".to_owned(), |bound| bound.to_string());
                let found = format!("{} and {}", shown(present), shown(absent));
                return Err(own.error("present", "it and absent, which is not above it", found));
            }
        };
        let vocabulary = ClosedVocabulary::read(top)?;
        Ok(Self { method: own.text("method")?.map(str::to_owned), presence, vocabulary })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;

    fn parse(text: &str) -> Result<ClipConfig> {
        ClipConfig::parse(text.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn short_sub_configurations_have_the_defaults_of_transformers() {
        let config =
            parse(r#"{"model_type": "clip", "text_config": {}, "vision_config": {"patch_size": 16}}"#);
        let config = config.expect("is valid");
        assert_eq!(config.vision.grid(), Grid::new(14, 14));
        assert_eq!((config.vision.tower.width, config.text().tower.width), (768, 512));
        assert_eq!((config.text().vocabulary, config.text().context), (49408, 77));
        assert_eq!(config.text().pooling, TextPooling::End(EndOfText::Id(49407)));
        assert_eq!(config.embedding, 512);
    }

    #[test]
    fn the_old_dictionary_and_its_defaults_win() {
        let text = r#"{"model_type": "clip", "text_config": {"hidden_act": "gelu", "hidden_size": 16},
                       "text_config_dict": {"hidden_size": 64}, "vision_config": {}}"#;
        let config = parse(text).expect("is valid");
        assert_eq!(config.text().tower.width, 64);
        assert_eq!(config.text().tower.activation, Activation::QuickGelu);
    }

    #[test]
    fn the_legacy_end_token_means_the_highest_id() {
        let text = r#"{"model_type": "clip", "text_config": {"eos_token_id": 2}, "vision_config": {}}"#;
        assert_eq!(parse(text).expect("is valid").text().pooling, TextPooling::End(EndOfText::Highest));
    }

    #[test]
    fn errors_name_field_expectation_and_finding() {
        let cases = [
            (
                r#"{"model_type": "bert"}"#,
                r#"model_type: expected "clip", "siglip", "vit", "dinov2" or "dinov2_with_registers", found "bert""#,
            ),
            (
                r#"{"model_type": "siglip2"}"#,
                r#"expected "clip", "siglip", "vit", "dinov2" or "dinov2_with_registers", found "siglip2" (NaFlex, which has no fixed resolution)"#,
            ),
            (r#"{"model_type": "siglip_vision_model"}"#, r#"found "siglip_vision_model""#),
            (
                r#"{"model_type": "siglip", "vision_config": {"vision_use_head": false}}"#,
                "vision_config.vision_use_head: expected true, found false",
            ),
            (
                r#"{"model_type": "siglip", "text_config": {"projection_size": 512}}"#,
                "text_config.projection_size: expected vision_config.hidden_size 768, found 512",
            ),
            (
                r#"{"model_type": "clip", "fieldmark": {"present": 0.5}}"#,
                "fieldmark.present: expected it and absent, which is not above it, found 0.5 and none",
            ),
            (r#"[]"#, "expected a JSON object, found []"),
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
                r#"vision_config.hidden_act: expected one of "quick_gelu", "gelu", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_python", "silu", found "relu""#,
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

    #[test]
    fn siglip_has_its_own_defaults() {
        // google/siglip-base-patch16-224 has no more than this in its configuration.
        let text = r#"{"model_type": "siglip", "text_config": {"model_type": "siglip_text_model"},
                       "vision_config": {"model_type": "siglip_vision_model"}, "torch_dtype": "float32"}"#;
        let config = parse(text).expect("is valid");
        assert_eq!(config.vision.grid(), Grid::new(14, 14));
        assert_eq!(config.vision.prefix_tokens(), 0);
        assert_eq!(
            (config.vision.pooling, config.vision.projection),
            (VisionPooling::Attention, Projection::None)
        );
        assert_eq!(
            (config.text().vocabulary, config.text().context, config.text().pad),
            (32000, 64, Some(1))
        );
        assert_eq!(
            (config.text().pooling, config.text().attention),
            (TextPooling::Last, TextAttention::Bidirectional)
        );
        for tower in [&config.text().tower, &config.vision.tower] {
            assert_eq!((tower.width, tower.mlp_width, tower.layers, tower.heads), (768, 3072, 12, 12));
            assert_eq!((tower.activation, tower.epsilon), (Activation::GeluTanh, 1e-6));
        }
        assert_eq!((config.embedding, config.probability), (768, ProbabilityKind::Sigmoid));
        assert_eq!((config.logit_bias, config.presence), (None, None));
    }

    #[test]
    fn siglip_2_differs_in_vocabulary_and_projects_to_the_pictures_width() {
        let text = r#"{"model_type": "siglip", "dtype": "float32",
            "text_config": {"vocab_size": 256000, "hidden_size": 1152, "num_attention_heads": 16, "projection_size": 1536},
            "vision_config": {"hidden_size": 1536, "num_attention_heads": 16, "image_size": 384}}"#;
        let config = parse(text).expect("is valid");
        assert_eq!((config.text().vocabulary, config.text().tower.width), (256_000, 1152));
        assert_eq!((config.embedding, config.vision.grid()), (1536, Grid::new(24, 24)));
    }

    #[test]
    fn a_calibrated_checkpoint_has_bounds_of_its_own_or_the_usual_ones() {
        let bounds = |text: &str| parse(text).expect("is valid").presence;
        assert_eq!(bounds(r#"{"model_type": "clip"}"#), None);
        assert_eq!(bounds(r#"{"model_type": "clip", "logit_bias": -3.0}"#), Some(PresenceBounds::default()));
        let own = r#"{"model_type": "siglip", "fieldmark": {"present": 0.02, "absent": 0.001}}"#;
        assert_eq!(bounds(own), Some(PresenceBounds { present: 0.02, absent: 0.001 }));
    }
}
