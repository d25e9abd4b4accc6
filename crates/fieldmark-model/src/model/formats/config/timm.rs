//! The vision towers that open_clip borrows from timm, as far as they are plain vision transformers. timm has no file
//! that describes them: a name stands for all numbers, so this is a table of names (timm 1.0).

use super::{
    Activation, PositionResampling, Projection, TowerConfig, VisionConfig, VisionPooling,
    section::Section,
    side::{SUPPORTED, side},
};
use crate::{
    error::Result,
    model::formats::names::{TimmNames, VisionNames},
};

/// The sizes by name: width, blocks, heads and the width of the MLPs.
const SIZES: [(&str, [usize; 4]); 10] = [
    ("tiny", [192, 12, 3, 768]),
    ("small", [384, 12, 6, 1536]),
    ("medium", [512, 12, 8, 2048]),
    ("base", [768, 12, 12, 3072]),
    ("large", [1024, 24, 16, 4096]),
    ("so400m", [1152, 27, 16, 4304]),
    ("huge", [1280, 32, 16, 5120]),
    ("giant", [1408, 40, 16, 6144]),
    ("giantopt", [1536, 40, 16, 6144]),
    ("gigantic", [1664, 48, 16, 8192]),
];

/// Names begin with these where the network is something else, and what it is.
const OTHERS: [(&str, &str); 9] = [
    ("convnext", "a ConvNeXt"),
    ("resnet", "a ResNet"),
    ("eva", "an EVA"),
    ("fastvit", "a FastViT of MobileCLIP"),
    ("vit_base_mci", "a hybrid of MobileCLIP"),
    ("vitamin", "a ViTamin"),
    ("swin", "a Swin"),
    ("vit_relpos", "a ViT with relative positions"),
    ("vit_pe", "a Perception Encoder"),
];

/// What parts the families of plain vision transformers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Family {
    /// With a class token.
    Plain,
    /// As in OpenAI's CLIP: with a norm before the blocks.
    Clip,
    /// The same with OpenAI's own activation.
    ClipQuickGelu,
    /// Without a class token, pooled by attention.
    Siglip,
    /// The same, pooled by the mean.
    SiglipGap,
}

/// What a model's name says.
pub(super) struct Named {
    sizes: [usize; 4],
    patch: usize,
    pub(super) family: Family,
    image_size: usize,
    activation: Activation,
}

/// The tower and its names, from the `vision_cfg` of a configuration that names a model of timm.
pub(super) fn vision(section: &Section, name: &str, embedding: usize) -> Result<(VisionConfig, VisionNames)> {
    let named = parse(name).ok_or_else(|| section.error("timm_model_name", SUPPORTED, described(name)))?;
    let image_size = side(section, "image_size", 224)?;
    if image_size != named.image_size {
        let expected = format!("{}, as in {name}", named.image_size);
        return Err(section.error("image_size", expected, image_size));
    }
    let (projection, head) = projection(section)?;
    let [width, ..] = named.sizes;
    if projection == Projection::None && embedding != width {
        return Err(section.error("timm_proj", format!("a layer from {width} to {embedding}"), "none"));
    }
    let (pooling, final_norm) = pooling(section, named.family, head)?;
    let config = VisionConfig { image_size, pooling, projection, ..plain(&named) };
    Ok((config, VisionNames::Timm(TimmNames { projection: head, final_norm })))
}

/// A name that stands for no plain vision transformer, and what it stands for where that is known.
pub(super) fn described(name: &str) -> String {
    let kind = OTHERS.iter().find(|(start, _)| name.starts_with(start));
    let kind = kind.map_or(String::new(), |(_, kind)| format!(" ({kind})"));
    format!("{name:?}{kind}")
}

/// The tower that a name stands for, pooled by its class token and without a projection.
pub(super) fn plain(named: &Named) -> VisionConfig {
    let is_clip = matches!(named.family, Family::Clip | Family::ClipQuickGelu);
    let [width, layers, heads, mlp_width] = named.sizes;
    let tower = TowerConfig {
        width,
        mlp_width,
        layers,
        heads,
        activation: named.activation,
        epsilon: if is_clip { 1e-5 } else { 1e-6 },
        layer_scale: false,
        gated: false,
    };
    VisionConfig {
        tower,
        image_size: named.image_size,
        patch: named.patch,
        class_token: named.family.class_token(),
        registers: 0,
        class_position: true,
        position_resampling: PositionResampling::Bicubic,
        patch_bias: !is_clip,
        pre_norm: is_clip,
        pooling: VisionPooling::ClassToken,
        projection: Projection::None,
    }
}

/// `vit_<size>_patch<side>[_<family>]_<image size>[.<training>]`.
pub(super) fn parse(name: &str) -> Option<Named> {
    let name = name.split('.').next()?;
    let (size, rest) = name.strip_prefix("vit_")?.split_once("_patch")?;
    let (patch, rest) = rest.split_once('_')?;
    let (family, image_size) = rest.rsplit_once('_').unwrap_or(("", rest));
    let (patch, image_size): (usize, usize) = (patch.parse().ok()?, image_size.parse().ok()?);
    let family = match family {
        "" => Family::Plain,
        "clip" => Family::Clip,
        "clip_quickgelu" => Family::ClipQuickGelu,
        "siglip" => Family::Siglip,
        "siglip_gap" => Family::SiglipGap,
        _ => return None,
    };
    let (_, sizes) = *SIZES.iter().find(|(known, _)| *known == size)?;
    // SigLIP's own towers all have the approximation; timm uses it for some, and its checkpoints are read accordingly.
    let approximate = matches!(
        (size, patch, image_size),
        ("base", 32, _) | ("large", 16, 512) | ("so400m", 16, _) | ("giantopt", ..)
    );
    let activation = match family {
        Family::Siglip | Family::SiglipGap if approximate => Activation::GeluTanh,
        Family::ClipQuickGelu => Activation::QuickGelu,
        _ => Activation::Gelu,
    };
    let usable = (1..=image_size).contains(&patch) && image_size <= 4096;
    usable.then_some(Named { sizes, patch, family, image_size, activation })
}

impl Family {
    fn class_token(self) -> bool {
        !matches!(self, Self::Siglip | Self::SiglipGap)
    }
}

/// What makes the summary the embedding, and what it is called: a layer of open_clip's behind timm's network, timm's
/// own last layer, or nothing.
fn projection(section: &Section) -> Result<(Projection, &'static str)> {
    let bias = section.flag("timm_proj_bias")?.unwrap_or(false);
    // Null is not the same as missing.
    let kind = match section.values().get("timm_proj") {
        None => "linear",
        Some(value) if value.is_null() => "",
        Some(_) => section.text("timm_proj")?.unwrap_or_default(),
    };
    match kind {
        "none" => Ok((Projection::None, "")),
        "" => Ok((Projection::LinearWithBias, "trunk.head")),
        "linear" if bias => Ok((Projection::LinearWithBias, "head.proj")),
        "linear" => Ok((Projection::Linear, "head.proj")),
        other => Err(section.error("timm_proj", "one of \"linear\", \"none\", \"\"", format!("{other:?}"))),
    }
}

/// How tokens become one vector, and the name of the last norm. timm puts the norm behind a mean, by another name,
/// where the network is made with that pooling; open_clip sets it afterwards where its own projection follows.
fn pooling(section: &Section, family: Family, head: &str) -> Result<(VisionPooling, &'static str)> {
    let default = match family {
        Family::Siglip => "map",
        Family::SiglipGap => "avg",
        _ => "token",
    };
    // An empty name is no pooling at all where the network is made with it.
    let made_with_pooling = head != "head.proj";
    let name = match section.text("timm_pool")?.unwrap_or("avg") {
        "" if !made_with_pooling => default,
        name => name,
    };
    match name {
        "token" if family.class_token() => Ok((VisionPooling::ClassToken, "norm")),
        "map" if family == Family::Siglip || (family == Family::SiglipGap && made_with_pooling) => {
            Ok((VisionPooling::Attention, "norm"))
        }
        "avg" if made_with_pooling && family != Family::SiglipGap => {
            Ok((VisionPooling::MeanBeforeNorm, "fc_norm"))
        }
        "avg" => Ok((VisionPooling::MeanOfPatches, "norm")),
        other => Err(section.error(
            "timm_pool",
            format!("a pooling of this model, as {default:?}"),
            format!("{other:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::json::ConfigFile;
    use serde_json::{Value, json};

    fn read(values: &Value, embedding: usize) -> Result<(VisionConfig, VisionNames)> {
        let values = values.as_object().expect("an object");
        let top = Section::new(values, ConfigFile(Path::new("open_clip_config.json")));
        let section = top.inner(values, "vision_cfg.");
        vision(&section, section.text("timm_model_name")?.expect("it exists"), embedding)
    }

    #[test]
    fn siglips_tower_is_pooled_by_attention() {
        let values = json!({"timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map",
                            "timm_proj": "none", "image_size": 224});
        let (config, names) = read(&values, 768).expect("is valid");
        assert_eq!((config.pooling, config.projection), (VisionPooling::Attention, Projection::None));
        assert!(!config.class_token && config.patch_bias && !config.pre_norm);
        assert_eq!((config.tower.activation, config.tower.epsilon), (Activation::Gelu, 1e-6));
        assert_eq!(names, VisionNames::Timm(TimmNames { projection: "", final_norm: "norm" }));
        assert!(read(&values, 512).is_err(), "nothing makes 768 numbers 512");
    }

    #[test]
    fn the_norm_goes_behind_the_mean_unless_open_clip_projects() {
        let named = |values: Value| read(&values, 512).expect("is valid");
        let (config, names) =
            named(json!({"timm_model_name": "vit_base_patch32_clip_224", "timm_proj": null}));
        assert_eq!(config.pooling, VisionPooling::MeanBeforeNorm);
        assert_eq!(names, VisionNames::Timm(TimmNames { projection: "trunk.head", final_norm: "fc_norm" }));
        assert!(config.pre_norm && config.class_token && !config.patch_bias);
        let (config, names) = named(json!({"timm_model_name": "vit_small_patch16_224.augreg_in21k"}));
        assert_eq!((config.pooling, config.projection), (VisionPooling::MeanOfPatches, Projection::Linear));
        assert_eq!(names, VisionNames::Timm(TimmNames { projection: "head.proj", final_norm: "norm" }));
        let small = |pool: &str, proj: &str| json!({"timm_model_name": "vit_small_patch16_224", "timm_pool": pool, "timm_proj": proj});
        assert_eq!(named(small("token", "linear")).0.pooling, VisionPooling::ClassToken);
        assert_eq!(named(small("", "linear")).0.pooling, VisionPooling::ClassToken);
        for (pool, proj) in [("", ""), ("map", "linear"), ("rot_attn", "linear"), ("token", "mlp")] {
            assert!(read(&small(pool, proj), 512).is_err(), "{pool} {proj}");
        }
    }

    #[test]
    fn activations_are_timms() {
        let activation = |name: &str| parse(name).expect(name).activation;
        assert_eq!(activation("vit_base_patch32_siglip_256"), Activation::GeluTanh);
        assert_eq!(activation("vit_so400m_patch14_siglip_384"), Activation::Gelu);
        assert_eq!(activation("vit_so400m_patch16_siglip_384"), Activation::GeluTanh);
        assert_eq!(activation("vit_large_patch14_clip_quickgelu_336"), Activation::QuickGelu);
        assert_eq!(activation("vit_base_patch32_224"), Activation::Gelu);
    }

    #[test]
    fn other_networks_are_refused_by_name() {
        let names = [
            ("fastvit_mci2", "(a FastViT of MobileCLIP)"),
            ("vit_base_mci_224", "(a hybrid of MobileCLIP)"),
            ("eva02_base_patch16_clip_224", "(an EVA)"),
            ("vitamin_large_224", "(a ViTamin)"),
            ("vit_pe_core_base_patch16_224", "(a Perception Encoder)"),
            ("vit_medium_patch16_gap_256", "\"vit_medium_patch16_gap_256\""),
            ("vit_base_patch0_224", "\"vit_base_patch0_224\""),
            ("vit_base_patch16_", "\"vit_base_patch16_\""),
        ];
        for (name, found) in names {
            let error = read(&json!({"timm_model_name": name}), 512).expect_err(name).to_string();
            assert!(
                error.contains("expected a plain vision transformer") && error.ends_with(found),
                "{error}"
            );
        }
        let size = json!({"timm_model_name": "vit_base_patch16_siglip_256", "image_size": 224});
        let error = read(&size, 768).expect_err("another size").to_string();
        assert!(error.ends_with("image_size: expected 256, as in vit_base_patch16_siglip_256, found 224"));
    }
}
