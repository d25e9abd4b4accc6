//! `open_clip_config.json` as open_clip writes it, or the model's part of it alone.
//!
//! What the file leaves out has the value that open_clip's `CLIPVisionCfg` and `CLIPTextCfg` give it (3.3.0). What
//! only matters in training (`patch_dropout`, `timm_drop`, `output_tokens`, ...) is not looked at; what changes the
//! network into one that is not supported is refused by its name.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Activation, ClipConfig, ClosedVocabulary, EndOfText, PositionResampling, ProbabilityKind, Projection,
    Splitter, TextAttention, TextConfig, TextPooling, TowerConfig, VisionConfig, VisionPooling,
    section::Section,
    side::{SUPPORTED, side},
    timm,
};
use crate::{
    error::Result,
    json::{ConfigFile, parse_object},
    model::{
        formats::{
            names::{OpenClipNames, TensorNames, VisionNames},
            read_config_file,
        },
        text::cleaning::Cleaning,
    },
};

/// What an `open_clip_config.json` says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OpenClipConfig {
    /// The model.
    pub model: ClipConfig,
    /// `preprocess_cfg`, for [`Preprocess::from_open_clip`](crate::model::preprocess::Preprocess::from_open_clip).
    pub preprocess: Value,
}

impl OpenClipConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names the field, what was expected and what was found.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_config_file(path)?, path)
    }

    /// Parses the bytes of a file; `path` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names the field, what was expected and what was found.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let root = parse_object(bytes, &ConfigFile(path))?;
        let top = Section::new(&root, ConfigFile(path));
        let preprocess = top.object("preprocess_cfg")?.cloned().unwrap_or_default();
        let whole = top.object("model_cfg")?;
        let mut model = model(&Section::new(whole.unwrap_or(&root), ConfigFile(path)))?;
        model.closed_vocabulary = ClosedVocabulary::read(&top)?;
        Ok(Self { model, preprocess: Value::Object(preprocess) })
    }
}

fn model(top: &Section) -> Result<ClipConfig> {
    if top.get("multimodal_cfg").is_some() {
        return Err(top.error("multimodal_cfg", "none (CLIP)", "a text decoder (CoCa)"));
    }
    let missing = |key| top.error(key, "an object", "none");
    let vision = top.object("vision_cfg")?.ok_or_else(|| missing("vision_cfg"))?;
    let text = top.object("text_cfg")?.ok_or_else(|| missing("text_cfg"))?;
    let vision = top.inner(vision, "vision_cfg.");
    let text = top.inner(text, "text_cfg.");
    if top.get("embed_dim").is_none() {
        return Err(top.error("embed_dim", "a number", "none"));
    }
    let embedding = top.size("embed_dim", 512)?;
    let quick = top.flag("quick_gelu")?.unwrap_or(false);
    let (vision, vision_names) = match vision.text("timm_model_name")? {
        Some(name) => timm::vision(&vision, name, embedding)?,
        None => (own_vision(&vision, quick)?, VisionNames::OpenClip),
    };
    let text = text_config(&text, quick)?;
    let names = OpenClipNames {
        custom_text: top.flag("custom_text")?.unwrap_or(false),
        text_projection_layer: text.projection == Projection::LinearWithBias,
        vision: vision_names,
    };
    let probability = match top.number("init_logit_bias")? {
        Some(_) => ProbabilityKind::Sigmoid,
        None => ProbabilityKind::Softmax,
    };
    let names = TensorNames::OpenClip(names);
    Ok(ClipConfig {
        text: Some(text),
        vision,
        embedding,
        probability,
        logit_bias: None,
        presence: None,
        closed_vocabulary: None,
        recommended_method: None,
        names,
        classifier: None,
    })
}

/// open_clip's own vision transformer.
fn own_vision(section: &Section, quick: bool) -> Result<VisionConfig> {
    if let Some(layers @ Value::Array(_)) = section.get("layers") {
        return Err(section.error("layers", SUPPORTED, format!("{layers} (a ResNet)")));
    }
    if section.get("attentional_pool").is_some_and(|pool| *pool != Value::Bool(false)) {
        return Err(section.error("attentional_pool", "none", "one (CoCa)"));
    }
    let pooling = match (
        section.text("pool_type")?.unwrap_or("tok"),
        section.flag("final_ln_after_pool")?.unwrap_or(false),
    ) {
        ("tok", _) => VisionPooling::ClassToken,
        ("avg", false) => VisionPooling::MeanOfPatches,
        ("avg", true) => VisionPooling::MeanBeforeNorm,
        (other, _) => return Err(section.error("pool_type", "\"tok\" or \"avg\"", format!("{other:?}"))),
    };
    let image_size = side(section, "image_size", 224)?;
    let patch = side(section, "patch_size", 16)?;
    if patch > image_size {
        return Err(section.error("patch_size", format!("at most image_size {image_size}"), patch));
    }
    let (width, head_width) = (section.size("width", 768)?, section.size("head_width", 64)?);
    if width % head_width != 0 {
        return Err(section.error("head_width", format!("a divisor of width {width}"), head_width));
    }
    Ok(VisionConfig {
        tower: tower(section, width, width / head_width, quick)?,
        image_size,
        patch,
        class_token: true,
        registers: 0,
        class_position: true,
        position_resampling: PositionResampling::Bicubic,
        patch_bias: false,
        pre_norm: !section.flag("no_ln_pre")?.unwrap_or(false),
        pooling,
        projection: Projection::Linear,
    })
}

fn tower(section: &Section, width: usize, heads: usize, quick: bool) -> Result<TowerConfig> {
    refuse_other_blocks(section)?;
    let ratio = section.number("mlp_ratio")?.unwrap_or(4.0);
    let mlp_width = width as f64 * ratio;
    if !(mlp_width >= 1.0 && ratio <= 64.0) {
        return Err(section.error("mlp_ratio", "a number above 0 and up to 64", ratio));
    }
    Ok(TowerConfig {
        width,
        mlp_width: mlp_width as usize,
        layers: section.layers("layers", 12)?,
        heads,
        activation: activation(section, quick)?,
        epsilon: epsilon(section)?,
        layer_scale: section.get("ls_init_value").is_some(),
        gated: false,
    })
}

/// The switches that make another block of it, each false or not there in all of OpenAI's and LAION's checkpoints.
fn refuse_other_blocks(section: &Section) -> Result<()> {
    let switches =
        ["qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"];
    for switch in switches {
        if section.flag(switch)?.unwrap_or(false) {
            return Err(section.error(switch, "false", true));
        }
    }
    match section.text("block_type")? {
        None | Some("default") => Ok(()),
        Some(other) => Err(section.error("block_type", "\"default\"", format!("{other:?}"))),
    }
}

fn activation(section: &Section, quick: bool) -> Result<Activation> {
    let Some(values) = section.object("act_kwargs")? else {
        return Ok(if quick { Activation::QuickGelu } else { Activation::Gelu });
    };
    let approximate =
        values.get("approximate").and_then(Value::as_str).filter(|_| values.len() == 1 && !quick);
    match approximate {
        Some("tanh") => Ok(Activation::GeluTanh),
        Some("none") => Ok(Activation::Gelu),
        _ => {
            let expected = "{\"approximate\": \"tanh\"}, without quick_gelu";
            Err(section.error("act_kwargs", expected, Value::Object(values.clone())))
        }
    }
}

fn epsilon(section: &Section) -> Result<f64> {
    let Some(values) = section.object("norm_kwargs")? else { return Ok(1e-5) };
    if let Some(other) = values.keys().find(|key| *key != "eps") {
        return Err(section.error("norm_kwargs", "eps alone", other));
    }
    section.with_values(values).epsilon("eps", 1e-5)
}

fn text_config(section: &Section, quick: bool) -> Result<TextConfig> {
    if let Some(name) = section.text("hf_model_name")? {
        let expected = "none (open_clip's own text transformer)";
        return Err(section.error("hf_model_name", expected, format!("{name:?}")));
    }
    if section.flag("embed_cls")?.unwrap_or(false) {
        return Err(section.error("embed_cls", "false", "true (CoCa)"));
    }
    let (width, heads) = (section.size("width", 512)?, section.size("heads", 8)?);
    if width % heads != 0 {
        return Err(section.error("heads", format!("a divisor of width {width}"), heads));
    }
    let attention = if section.flag("no_causal_mask")?.unwrap_or(false) {
        TextAttention::Bidirectional
    } else {
        TextAttention::Causal
    };
    let (splitter, cleaning) = tokenizer(section)?;
    Ok(TextConfig {
        tower: tower(section, width, heads, quick)?,
        vocabulary: section.size("vocab_size", 49408)?,
        context: section.size("context_length", 77)?,
        attention,
        pooling: text_pooling(section)?,
        projection: text_projection(section)?,
        // open_clip's own tokenizer pads with 0 and ignores `pad_id`: that is only for `embed_cls`.
        pad: (splitter == Splitter::OpenClip).then_some(0),
        splitter,
        cleaning,
    })
}

fn text_pooling(section: &Section) -> Result<TextPooling> {
    Ok(match section.text("pool_type")?.unwrap_or("argmax") {
        "argmax" => TextPooling::End(EndOfText::Highest),
        "eos" => {
            match section.get("eos_id").map_or(Some(2), Value::as_u64).and_then(|id| u32::try_from(id).ok()) {
                Some(id) => TextPooling::End(EndOfText::Id(id)),
                None => return Err(section.error("eos_id", "a token id", &section.values()["eos_id"])),
            }
        }
        "last" => TextPooling::Last,
        "first" => TextPooling::First,
        other => {
            let expected = "one of \"argmax\", \"eos\", \"last\", \"first\"";
            return Err(section.error("pool_type", expected, format!("{other:?}")));
        }
    })
}

fn text_projection(section: &Section) -> Result<Projection> {
    match (section.text("proj_type")?.unwrap_or("linear"), section.flag("proj_bias")?.unwrap_or(false)) {
        ("none", _) => Ok(Projection::None),
        ("linear", false) => Ok(Projection::Linear),
        ("linear", true) => Ok(Projection::LinearWithBias),
        (other, _) => Err(section.error("proj_type", "\"linear\" or \"none\"", format!("{other:?}"))),
    }
}

/// The splitter of prompts, and their cleaning: open_clip's own tokenizer cleans with `lower` unless the file
/// says otherwise, its wrapper around others with `whitespace`.
fn tokenizer(section: &Section) -> Result<(Splitter, Cleaning)> {
    if let Some(mode) = section.text("tokenizer_mode")? {
        return Err(section.error("tokenizer_mode", "none", format!("{mode:?}")));
    }
    let wrapped = section.text("hf_tokenizer_name")?.is_some();
    let empty = Map::new();
    let values = section.object("tokenizer_kwargs")?.unwrap_or(&empty);
    let own = section.inner(values, "text_cfg.tokenizer_kwargs.");
    if let Some((key, value)) =
        values.iter().find(|(key, value)| *key != "clean" && **value != Value::Bool(false))
    {
        return Err(own.error(key, "none", value));
    }
    let cleaning = match (own.text("clean")?, wrapped) {
        (None, true) | (Some("whitespace"), true) => Cleaning::Whitespace,
        (None, false) | (Some("lower"), _) => Cleaning::Lower,
        (Some("canonicalize"), _) => Cleaning::Canonicalize,
        (Some(other), _) => {
            return Err(own.error("clean", "\"lower\" or \"canonicalize\"", format!("{other:?}")));
        }
    };
    Ok((if wrapped { Splitter::Files } else { Splitter::OpenClip }, cleaning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Grid;
    use serde_json::json;

    fn parse(root: &Value) -> Result<ClipConfig> {
        let path = Path::new("open_clip_config.json");
        Ok(OpenClipConfig::parse(root.to_string().as_bytes(), path)?.model)
    }

    fn bioclip() -> Value {
        json!({"model_cfg": {"embed_dim": 512,
            "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}}})
    }

    /// BioCLIP's configuration with one value changed.
    fn changed(pointer: &str, value: Value) -> Value {
        let mut root = bioclip();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        root["model_cfg"].pointer_mut(parent).expect("it exists")[key] = value;
        root
    }

    #[test]
    fn defaults_are_open_clips() {
        let config = parse(&bioclip()).expect("is valid");
        assert_eq!(config.vision.grid(), Grid::new(14, 14));
        assert_eq!((config.vision.tower.heads, config.text().tower.heads), (12, 8));
        assert_eq!((config.vision.tower.activation, config.vision.tower.epsilon), (Activation::Gelu, 1e-5));
        assert!(config.vision.pre_norm && config.vision.class_token && !config.vision.patch_bias);
        assert_eq!(config.text().pooling, TextPooling::End(EndOfText::Highest));
        assert_eq!((config.text().splitter, config.text().cleaning), (Splitter::OpenClip, Cleaning::Lower));
        assert_eq!(config.text().pad, Some(0));
        assert_eq!(config.probability, ProbabilityKind::Softmax);
        assert_eq!(parse(&bioclip()["model_cfg"]).expect("is valid"), config, "the model's part alone");
    }

    #[test]
    fn every_variant_is_understood() {
        let get = |pointer, value| parse(&changed(pointer, value)).expect(pointer);
        assert_eq!(get("/quick_gelu", true.into()).vision.tower.activation, Activation::QuickGelu);
        assert_eq!(get("/vision_cfg/head_width", 96.into()).vision.tower.heads, 8);
        assert_eq!(get("/vision_cfg/image_size", json!([240, 240])).vision.grid(), Grid::new(15, 15));
        assert_eq!(get("/vision_cfg/mlp_ratio", 2.5.into()).vision.tower.mlp_width, 1920);
        assert!(get("/vision_cfg/ls_init_value", 1e-5.into()).vision.tower.layer_scale);
        assert!(!get("/vision_cfg/no_ln_pre", true.into()).vision.pre_norm);
        assert_eq!(get("/vision_cfg/pool_type", "avg".into()).vision.pooling, VisionPooling::MeanOfPatches);
        assert_eq!(get("/vision_cfg/norm_kwargs", json!({"eps": 1e-6})).vision.tower.epsilon, 1e-6);
        let text = get("/text_cfg/act_kwargs", json!({"approximate": "tanh"})).text.unwrap();
        assert_eq!(text.tower.activation, Activation::GeluTanh);
        assert_eq!(
            get("/text_cfg/no_causal_mask", true.into()).text().attention,
            TextAttention::Bidirectional
        );
        assert_eq!(get("/text_cfg/pool_type", "last".into()).text().pooling, TextPooling::Last);
        assert_eq!(get("/text_cfg/proj_bias", true.into()).text().projection, Projection::LinearWithBias);
        assert_eq!(get("/init_logit_bias", (-10).into()).probability, ProbabilityKind::Sigmoid);
        let eos = get("/text_cfg/pool_type", "eos".into()).text().pooling;
        assert_eq!(eos, TextPooling::End(EndOfText::Id(2)));
        let wrapped = get("/text_cfg/hf_tokenizer_name", "timm/ViT-B-16-SigLIP".into()).text.unwrap();
        assert_eq!((wrapped.splitter, wrapped.cleaning), (Splitter::Files, Cleaning::Whitespace));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let cases = [
            (
                "/vision_cfg/layers",
                json!([3, 4, 6, 3]),
                "vision_cfg.layers: expected a plain vision transformer, found [3,4,6,3] (a ResNet)",
            ),
            (
                "/multimodal_cfg",
                json!({}),
                "multimodal_cfg: expected none (CLIP), found a text decoder (CoCa)",
            ),
            (
                "/text_cfg/hf_model_name",
                "roberta-base".into(),
                "text_cfg.hf_model_name: expected none (open_clip's own text transformer), found \"roberta-base\"",
            ),
            (
                "/vision_cfg/attentional_pool",
                true.into(),
                "attentional_pool: expected none, found one (CoCa)",
            ),
            ("/text_cfg/embed_cls", true.into(), "text_cfg.embed_cls: expected false, found true (CoCa)"),
            ("/vision_cfg/qk_norm", true.into(), "vision_cfg.qk_norm: expected false, found true"),
            ("/vision_cfg/pool_type", "none".into(), "expected \"tok\" or \"avg\", found \"none\""),
            ("/vision_cfg/head_width", 100.into(), "head_width: expected a divisor of width 768, found 100"),
            ("/vision_cfg/head_width", 0.into(), "expected a whole number from 1 to 1048576, found 0"),
            (
                "/text_cfg/heads",
                0.into(),
                "text_cfg.heads: expected a whole number from 1 to 1048576, found 0",
            ),
            ("/text_cfg/heads", 7.into(), "text_cfg.heads: expected a divisor of width 512, found 7"),
            (
                "/text_cfg/mlp_ratio",
                (-1).into(),
                "mlp_ratio: expected a number above 0 and up to 64, found -1",
            ),
            ("/vision_cfg/patch_size", 256.into(), "patch_size: expected at most image_size 224, found 256"),
            (
                "/vision_cfg/timm_model_name",
                "convnext_base".into(),
                "vision_cfg.timm_model_name: expected a plain vision transformer, found \"convnext_base\" (a ConvNeXt)",
            ),
            (
                "/text_cfg/tokenizer_kwargs",
                json!({"strip_sep_token": true}),
                "text_cfg.tokenizer_kwargs.strip_sep_token: expected none, found true",
            ),
            ("/vision_cfg", Value::Null, "vision_cfg: expected an object, found none"),
            ("/embed_dim", Value::Null, "embed_dim: expected a number, found none"),
        ];
        for (pointer, value, expected) in cases {
            let error = parse(&changed(pointer, value)).expect_err(pointer).to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }
}
