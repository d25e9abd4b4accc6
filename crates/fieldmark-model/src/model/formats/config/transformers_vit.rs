//! `config.json` as transformers writes it for the vision transformers that know photos alone: ViT and DINOv2, with and
//! without registers, bare or with the layer of a classifier.
//!
//! What the file leaves out has the value of `ViTConfig`, `Dinov2Config` and `Dinov2WithRegistersConfig`.

use super::{
    Activation, ClassifierConfig, ClipConfig, PositionResampling, TowerConfig, VisionConfig, VisionPooling,
    section::Section,
    transformers::{Defaults, plain_vision},
};
use crate::{
    error::Result,
    feature::Feature,
    model::formats::names::{TensorNames, VitFamily, VitNames},
};

const VIT: Defaults =
    Defaults { width: 768, mlp_width: 3072, heads: 12, activation: Activation::Gelu, epsilon: 1e-12 };
const DINOV2: Defaults = Defaults { epsilon: 1e-6, ..VIT };

/// Reads the fields of a whole file.
pub(super) fn parse(top: &Section, family: VitFamily) -> Result<ClipConfig> {
    let (defaults, patch, architecture, feature) = match family {
        VitFamily::Vit => (&VIT, 16, "ViTForImageClassification", Feature::ClassToken),
        VitFamily::Dinov2 => (&DINOV2, 14, "Dinov2ForImageClassification", Feature::ClassTokenAndMeanPatches),
        VitFamily::Dinov2WithRegisters => {
            (&DINOV2, 16, "Dinov2WithRegistersForImageClassification", Feature::ClassTokenAndMeanPatches)
        }
    };
    if !top.flag("qkv_bias")?.unwrap_or(true) {
        return Err(top.error("qkv_bias", "true", false));
    }
    let vision = plain_vision(top, defaults, patch)?;
    let registers = match family {
        VitFamily::Dinov2WithRegisters => registers(top)?,
        _ => 0,
    };
    let tower = match family {
        VitFamily::Vit => vision.tower,
        _ => dinov2(top, vision.tower)?,
    };
    let is_classifier = ClassifierConfig::is_for(top, architecture);
    let classifier = is_classifier.then(|| ClassifierConfig::read(top, feature)).transpose()?;
    let root = if is_classifier { family.root() } else { "" };
    let names = TensorNames::TransformersVit(VitNames { family, root, gated: tower.gated });
    let vision = VisionConfig {
        tower,
        class_token: true,
        registers,
        position_resampling: match family {
            VitFamily::Dinov2WithRegisters => PositionResampling::BicubicAntialiased,
            _ => PositionResampling::Bicubic,
        },
        pooling: VisionPooling::ClassToken,
        ..vision
    };
    Ok(ClipConfig::of_photos(vision, names, classifier))
}

/// The blocks of DINOv2: with layer scales, and the width of the MLPs as a ratio. Gated MLPs keep two thirds of it,
/// rounded up to a multiple of 8.
fn dinov2(top: &Section, plain: TowerConfig) -> Result<TowerConfig> {
    let ratio = top.number("mlp_ratio")?.unwrap_or(4.0);
    let hidden = plain.width as f64 * ratio;
    if !(hidden >= 1.0 && ratio <= 64.0) {
        return Err(top.error("mlp_ratio", "a number above 0 and up to 64", ratio));
    }
    let gated = top.flag("use_swiglu_ffn")?.unwrap_or(false);
    let hidden = hidden as usize;
    // As transformers computes it, in floating-point numbers.
    let mlp_width = if gated { ((hidden as f64 * 2.0 / 3.0) as usize).div_ceil(8) * 8 } else { hidden };
    let activation = if gated { Activation::Silu } else { plain.activation };
    Ok(TowerConfig { mlp_width, activation, layer_scale: true, gated, ..plain })
}

/// The number of registers, which may be 0.
fn registers(top: &Section) -> Result<usize> {
    let expected = "a whole number from 0 to 1024";
    let found =
        top.read("num_register_tokens", expected, |value| value.as_u64().filter(|count| *count <= 1024))?;
    Ok(found.map_or(4, |count| count as usize))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::config::ClipConfig;

    fn parse(text: &str) -> Result<ClipConfig> {
        ClipConfig::parse(text.as_bytes(), Path::new("config.json"))
    }

    #[test]
    fn what_is_left_out_is_what_transformers_says() {
        let vit = parse(r#"{"model_type": "vit", "architectures": ["ViTForImageClassification"]}"#)
            .expect("is valid");
        let classifier = vit.classifier.expect("is a classifier");
        assert_eq!((classifier.feature, classifier.names.len()), (Feature::ClassToken, 2));
        assert_eq!(classifier.names, ["LABEL_0", "LABEL_1"]);
        assert_eq!(
            (vit.vision.patch, vit.vision.tower.epsilon, vit.vision.tower.layer_scale),
            (16, 1e-12, false)
        );
        let dino = parse(r#"{"model_type": "dinov2", "architectures": ["Dinov2Model"]}"#).expect("is valid");
        assert!(dino.classifier.is_none() && dino.is_vision_only());
        assert_eq!((dino.vision.patch, dino.vision.registers, dino.vision.tower.layer_scale), (14, 0, true));
        let with = parse(r#"{"model_type": "dinov2_with_registers", "patch_size": 14}"#).expect("is valid");
        assert_eq!((with.vision.registers, with.vision.prefix_tokens()), (4, 5));
    }

    #[test]
    fn the_giants_mlps_are_gated() {
        let giant = r#"{"model_type": "dinov2", "hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": true}"#;
        let tower = parse(giant).expect("is valid").vision.tower;
        assert_eq!((tower.mlp_width, tower.gated, tower.activation), (4096, true, Activation::Silu));
    }

    #[test]
    fn classes_have_the_names_of_the_file() {
        let config = |labels: &str| {
            let text = format!(
                r#"{{"model_type": "vit", "architectures": ["ViTForImageClassification"], "id2label": {labels}}}"#
            );
            parse(&text).map(|config| config.classifier.expect("is a classifier").names)
        };
        assert_eq!(config(r#"{"1": "wren", "0": "tit"}"#).expect("is valid"), ["tit", "wren"]);
        for wrong in [r#"{"1": "wren"}"#, "{}", r#"["wren"]"#, r#"{"0": 3}"#, "3"] {
            let error = config(wrong).expect_err("is refused").to_string();
            assert!(error.contains("id2label: expected an object with a name for every number"), "{error}");
        }
    }

    #[test]
    fn what_is_another_network_is_refused_by_name() {
        let error = parse(r#"{"model_type": "dinov3_vit"}"#).expect_err("is refused").to_string();
        assert!(error.contains("(DINOv3, whose positions are rotations)"), "{error}");
        assert!(parse(r#"{"model_type": "vit", "qkv_bias": false}"#).is_err());
        assert!(parse(r#"{"model_type": "dinov2_with_registers", "num_register_tokens": -1}"#).is_err());
        assert!(parse(r#"{"model_type": "dinov2", "mlp_ratio": 1e9}"#).is_err());
    }
}
