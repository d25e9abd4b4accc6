//! `config.json` as timm writes it for one of its vision transformers by itself: a name, which stands for all numbers (as
//! in [`timm`](super::timm)), the pooling, and how pixels are made.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Activation, ClassifierConfig, ClipConfig, PositionResampling, Projection, TowerConfig, VisionConfig,
    VisionPooling,
    section::Section,
    side::SUPPORTED,
    timm::{self, Family},
};
use crate::{
    error::Result,
    feature::Feature,
    head::names_of,
    json::{ConfigFile, parse_object},
    model::formats::{
        names::{TensorNames, TimmNames},
        read_config_file,
    },
};

/// What a `config.json` of timm's says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimmClassifier {
    pub(crate) model: ClipConfig,
    /// `pretrained_cfg`, for the preprocessing.
    pub(crate) pretrained: Value,
}

/// The networks of DINOv2, whose names have no size of a picture: width, blocks, heads and the width of the MLPs.
const DINOV2: [(&str, [usize; 4]); 4] = [
    ("small", [384, 12, 6, 1536]),
    ("base", [768, 12, 12, 3072]),
    ("large", [1024, 24, 16, 4096]),
    // Gated: each half of the first layer.
    ("giant", [1536, 40, 24, 4096]),
];
/// The side of the pictures that DINOv2's positions are for.
const DINOV2_SIDE: usize = 518;

/// What a name says.
struct Tower {
    config: VisionConfig,
    family: Family,
}

impl TimmClassifier {
    /// Whether a `config.json` is timm's: it names an architecture and no type of transformers'.
    pub(crate) fn is_one(path: &Path) -> bool {
        let values = read_config_file(path).and_then(|bytes| parse_object(&bytes, &ConfigFile(path)));
        values.is_ok_and(|values| values.contains_key("architecture") && !values.contains_key("model_type"))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) names the field, what was expected and what was found.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::parse(&read_config_file(path)?, path)
    }

    /// Parses the bytes of a file; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let root = parse_object(bytes, &ConfigFile(path))?;
        let top = Section::new(&root, ConfigFile(path));
        let pretrained = top.object("pretrained_cfg")?.unwrap_or(&root);
        let name = top.text("architecture")?.unwrap_or_default();
        let Some(mut tower) = tower(name) else {
            return Err(top.error("architecture", SUPPORTED, timm::described(name)));
        };
        if let Some(side) = input_side(&top.inner(pretrained, "pretrained_cfg."))? {
            tower.config.image_size = side;
        }
        with_arguments(&top, &mut tower.config)?;
        check(&top, &tower.config)?;
        let (pooling, feature, final_norm) = pooling(&top, &tower)?;
        tower.config.pooling = pooling;
        let names = TensorNames::Timm(TimmNames { projection: "", final_norm });
        let classifier = classifier(&top, pretrained, feature)?;
        let model = ClipConfig::of_photos(tower.config, names, classifier);
        Ok(Self { model, pretrained: Value::Object(pretrained.clone()) })
    }
}

/// The arguments that a model was made with instead of what its name stands for.
fn with_arguments(top: &Section, tower: &mut VisionConfig) -> Result<()> {
    const KNOWN: [&str; 7] =
        ["img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "init_values"];
    let Some(values) = top.object("model_args")? else { return Ok(()) };
    let arguments = top.inner(values, "model_args.");
    if let Some(other) = values.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(top.error("model_args", format!("some of {}", KNOWN.join(", ")), other));
    }
    for (key, place) in [("img_size", &mut tower.image_size), ("patch_size", &mut tower.patch)] {
        let side = arguments.read(key, "a number, or two equal ones, from 1 to 4096", square)?;
        *place = side.unwrap_or(*place);
    }
    let blocks = &mut tower.tower;
    let ratio = blocks.mlp_width as f64 / blocks.width as f64;
    let ratio = arguments.number("mlp_ratio")?.unwrap_or(ratio);
    if !(ratio > 0.0 && ratio <= 64.0) {
        return Err(arguments.error("mlp_ratio", "a number above 0 and up to 64", ratio));
    }
    blocks.width = arguments.size("embed_dim", blocks.width)?;
    blocks.layers = arguments.layers("depth", blocks.layers)?;
    blocks.heads = arguments.size("num_heads", blocks.heads)?;
    if !blocks.gated {
        blocks.mlp_width = ((blocks.width as f64 * ratio) as usize).max(1);
    } else if arguments.get("mlp_ratio").or(arguments.get("embed_dim")).is_some() {
        return Err(top.error("model_args", "those of an MLP that is not gated", "another"));
    }
    blocks.layer_scale |= arguments.number("init_values")?.is_some();
    Ok(())
}

/// Whether the numbers go together.
fn check(top: &Section, vision: &VisionConfig) -> Result<()> {
    let VisionConfig { image_size, patch, tower, .. } = vision;
    if patch > image_size {
        return Err(top.error("model_args", format!("patches of at most {image_size} pixels"), patch));
    }
    if tower.width % tower.heads != 0 {
        return Err(top.error(
            "model_args",
            format!("a divisor of width {} as num_heads", tower.width),
            tower.heads,
        ));
    }
    Ok(())
}

/// The side of the pictures that it was trained on.
fn input_side(pretrained: &Section) -> Result<Option<usize>> {
    let expected = "three numbers: channels, and the same height and width";
    pretrained.read("input_size", expected, |value| match value.as_array()?.as_slice() {
        [channels, sides @ ..] if channels.as_u64() == Some(3) => square(&Value::Array(sides.to_vec())),
        _ => None,
    })
}

fn square(value: &Value) -> Option<usize> {
    let side = match value {
        Value::Array(sides) => match sides.as_slice() {
            [height, width] if height == width => height.as_u64()?,
            _ => return None,
        },
        other => other.as_u64()?,
    };
    (1..=4096).contains(&side).then_some(side as usize)
}

/// How tokens become one vector, the feature that the classifier is on, and the name of the last norm.
fn pooling(top: &Section, tower: &Tower) -> Result<(VisionPooling, Feature, &'static str)> {
    let default = match tower.family {
        Family::Siglip => "map",
        Family::SiglipGap => "avg",
        _ => "token",
    };
    match top.text("global_pool")?.unwrap_or(default) {
        "token" if tower.config.class_token => Ok((VisionPooling::ClassToken, Feature::ClassToken, "norm")),
        "avg" if tower.family == Family::SiglipGap => {
            Ok((VisionPooling::MeanOfPatches, Feature::MeanPatches, "norm"))
        }
        "avg" => Ok((VisionPooling::MeanBeforeNorm, Feature::MeanPatches, "fc_norm")),
        "map" if tower.family == Family::Siglip => Ok((VisionPooling::Attention, Feature::Projected, "norm")),
        other => {
            let expected = format!("{default:?} or \"avg\"");
            Err(top.error("global_pool", expected, format!("{other:?}")))
        }
    }
}

/// The classes: `label_names`, or as many as `num_classes` says.
fn classifier(
    top: &Section,
    pretrained: &Map<String, Value>,
    feature: Feature,
) -> Result<Option<ClassifierConfig>> {
    let pretrained_cfg = top.inner(pretrained, "pretrained_cfg.");
    let expected = "a whole number up to 1048576";
    let number = |section: &Section| {
        section.read("num_classes", expected, |value| value.as_u64().filter(|count| *count <= 1 << 20))
    };
    let count = number(top)?.or(number(&pretrained_cfg)?).unwrap_or(0) as usize;
    if count == 0 {
        return Ok(None);
    }
    let listed = [top, &pretrained_cfg].into_iter().find_map(|section| section.get("label_names"));
    let names = match listed {
        None => (0..count).map(|index| format!("#{index}")).collect(),
        Some(listed) => match names_of(listed) {
            Some(names) if names.len() == count => names,
            Some(names) => return Err(top.error("label_names", format!("{count} names"), names.len())),
            None => return Err(top.error("label_names", "a list of names", "something else")),
        },
    };
    ClassifierConfig::new(top, "label_names", feature, names).map(Some)
}

/// The network that a name stands for.
fn tower(name: &str) -> Option<Tower> {
    if let Some(tower) = dinov2(name) {
        return Some(tower);
    }
    let named = timm::parse(name)?;
    let family = named.family;
    let config = VisionConfig {
        position_resampling: PositionResampling::BicubicAntialiased,
        pooling: VisionPooling::ClassToken,
        projection: Projection::None,
        ..timm::plain(&named)
    };
    Some(Tower { config, family })
}

/// `vit_<size>_patch14_dinov2` and `vit_<size>_patch14_reg4_dinov2`, whose registers stand before positions that are the
/// patches' alone.
fn dinov2(name: &str) -> Option<Tower> {
    let name = name.split('.').next()?;
    let (size, rest) = name.strip_prefix("vit_")?.split_once("_patch14_")?;
    let registers = match rest {
        "dinov2" => 0,
        "reg4_dinov2" => 4,
        _ => return None,
    };
    let (_, [width, layers, heads, mlp_width]) = *DINOV2.iter().find(|(known, _)| *known == size)?;
    let gated = size == "giant";
    let tower = TowerConfig {
        width,
        mlp_width,
        layers,
        heads,
        activation: if gated { Activation::Silu } else { Activation::Gelu },
        epsilon: 1e-6,
        layer_scale: true,
        gated,
    };
    let config = VisionConfig {
        tower,
        image_size: DINOV2_SIDE,
        patch: 14,
        class_token: true,
        registers,
        class_position: registers == 0,
        position_resampling: PositionResampling::BicubicAntialiased,
        patch_bias: true,
        pre_norm: false,
        pooling: VisionPooling::ClassToken,
        projection: Projection::None,
    };
    Some(Tower { config, family: Family::Plain })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TimmClassifier> {
        TimmClassifier::parse(text.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn a_name_stands_for_all_numbers() {
        let text = r#"{"architecture": "vit_base_patch16_224", "num_classes": 3, "num_features": 768,
            "global_pool": "token", "pretrained_cfg": {"input_size": [3, 384, 384], "crop_pct": 1.0}}"#;
        let model = parse(text).expect("is valid").model;
        assert_eq!(
            (model.vision.image_size, model.vision.tower.width, model.vision.prefix_tokens()),
            (384, 768, 1)
        );
        let classifier = model.classifier.expect("is a classifier");
        assert_eq!(
            (classifier.feature, classifier.names),
            (Feature::ClassToken, ["#0", "#1", "#2"].map(String::from).into())
        );
        let avg = parse(r#"{"architecture": "vit_base_patch16_224", "global_pool": "avg"}"#)
            .expect("is valid")
            .model;
        assert_eq!((avg.vision.pooling, avg.classifier), (VisionPooling::MeanBeforeNorm, None));
        let map =
            r#"{"architecture": "vit_base_patch16_siglip_224", "num_classes": 1, "label_names": ["wren"]}"#;
        let classifier = parse(map).expect("is valid").model.classifier.expect("is a classifier");
        assert_eq!((classifier.feature, classifier.names), (Feature::Projected, vec!["wren".into()]));
    }

    #[test]
    fn registers_of_dinov2_have_no_position_and_neither_has_the_class_token() {
        let vision = parse(r#"{"architecture": "vit_base_patch14_reg4_dinov2.lvd142m"}"#)
            .expect("is valid")
            .model
            .vision;
        assert_eq!((vision.prefix_tokens(), vision.positions()), (5, 37 * 37));
        let vision = parse(r#"{"architecture": "vit_giant_patch14_dinov2"}"#).expect("is valid").model.vision;
        assert_eq!((vision.prefix_tokens(), vision.positions(), vision.tower.gated), (1, 1 + 37 * 37, true));
    }

    #[test]
    fn what_is_another_network_is_refused() {
        for (text, expected) in [
            (
                r#"{"architecture": "resnet50"}"#,
                "architecture: expected a plain vision transformer, found \"resnet50\" (a ResNet)",
            ),
            (
                r#"{"architecture": "vit_base_patch16_224", "global_pool": "avgmax"}"#,
                "global_pool: expected \"token\" or \"avg\"",
            ),
            (
                r#"{"architecture": "vit_base_patch16_224", "model_args": {"class_token": false}}"#,
                "model_args: expected some of img_size, patch_size",
            ),
            (
                r#"{"architecture": "vit_base_patch16_224", "pretrained_cfg": {"input_size": [3, 224, 192]}}"#,
                "input_size",
            ),
            (
                r#"{"architecture": "vit_base_patch16_224", "num_classes": 2, "label_names": ["a"]}"#,
                "label_names: expected 2 names, found 1",
            ),
        ] {
            let error = parse(text).expect_err("is refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
