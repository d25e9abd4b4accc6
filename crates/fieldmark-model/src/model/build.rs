//! Named tensors become the towers.
//!
//! [`Inventory`] lists the tensors of a model from its configuration, by id and shape; checking a file and building
//! a tower both go by that list. What a file calls them is [`names`](super::formats::names)' affair.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use candle_transformers::models::clip::{self as reference, text_model::ClipTextConfig};
use rayon::prelude::*;

use super::{
    formats::{
        config::{
            ClipConfig, ProbabilityKind, Projection, TextAttention, TextConfig, TowerConfig, VisionConfig,
            VisionPooling,
        },
        names::{BlockPart, Branch, Kind, Stored, TensorId, TensorNames, Tower},
        weights::{Expected, Weights},
    },
    network::{
        Attention, AttentionPool, Block, LayerNorm, Linear, Mlp, OwnTextTower, Pool, TextTower, VisionTower,
        Weight, reference_is_exact,
    },
};
use crate::{
    error::{Error, Result},
    feature::Feature,
    targets::Targets,
};

/// The tensors of a model of one configuration, with their shapes.
struct Inventory {
    names: TensorNames,
    shapes: HashMap<TensorId, Vec<usize>>,
    /// In the order in which they are missed.
    order: Vec<TensorId>,
}

/// Every tensor that a checkpoint of this configuration has, as its file names and shapes it.
pub(super) fn expected(config: &ClipConfig) -> Vec<Expected> {
    let inventory = Inventory::new(config);
    inventory.order.iter().flat_map(|id| inventory.stored(*id)).collect()
}

/// The names of a few tensors that every model has.
pub(super) fn anchors(config: &ClipConfig) -> Vec<String> {
    let inventory = Inventory::new(config);
    let anchors = [TensorId::LogitScale, TensorId::Tokens, TensorId::Patches(Kind::Weight)];
    let anchors = anchors.iter().filter(|id| inventory.shapes.contains_key(id));
    anchors.flat_map(|id| inventory.stored(*id)).map(|expected| expected.name).collect()
}

/// How many numbers a tower of this configuration has, its projection included.
pub(super) fn parameters(config: &ClipConfig, tower: Tower) -> u64 {
    let inventory = Inventory::new(config);
    let ours = inventory.order.iter().filter(|id| id.tower() == Some(tower));
    ours.map(|id| inventory.shapes[id].iter().map(|side| *side as u64).product::<u64>()).sum()
}

/// How many numbers a model of this configuration has.
pub(super) fn all_parameters(config: &ClipConfig) -> u64 {
    let inventory = Inventory::new(config);
    inventory.shapes.values().map(|shape| shape.iter().map(|side| *side as u64).product::<u64>()).sum()
}

impl Inventory {
    fn new(config: &ClipConfig) -> Self {
        let mut list = Self { names: config.names, shapes: HashMap::new(), order: Vec::new() };
        if let Some(text) = &config.text {
            list.add(TensorId::LogitScale, &[]);
            if config.probability == ProbabilityKind::Sigmoid {
                list.add(TensorId::LogitBias, &[]);
            }
            list.add(TensorId::Tokens, &[text.vocabulary, text.tower.width]);
            list.tower(Tower::Text, &text.tower, text.context);
            list.projection(Tower::Text, text.projection, [config.embedding, text.tower.width]);
        }
        list.vision(&config.vision);
        list.projection(
            Tower::Vision,
            config.vision.projection,
            [config.embedding, config.vision.tower.width],
        );
        if let Some(classifier) = &config.classifier {
            let both = classifier.feature == Feature::ClassTokenAndMeanPatches;
            let width = if both { 2 * config.vision.tower.width } else { config.vision.tower.width };
            list.linear(TensorId::Classifier, classifier.names.len(), width);
        }
        list
    }

    fn add(&mut self, id: TensorId, shape: &[usize]) {
        self.shapes.insert(id, shape.into());
        self.order.push(id);
    }

    fn norm(&mut self, id: impl Fn(Kind) -> TensorId, width: usize) {
        self.add(id(Kind::Weight), &[width]);
        self.add(id(Kind::Bias), &[width]);
    }

    fn linear(&mut self, id: impl Fn(Kind) -> TensorId, to: usize, from: usize) {
        self.add(id(Kind::Weight), &[to, from]);
        self.add(id(Kind::Bias), &[to]);
    }

    fn projection(&mut self, tower: Tower, projection: Projection, shape: [usize; 2]) {
        if projection != Projection::None {
            self.add(TensorId::Projection(tower, Kind::Weight), &shape);
        }
        if projection == Projection::LinearWithBias {
            self.add(TensorId::Projection(tower, Kind::Bias), &shape[..1]);
        }
    }

    fn vision(&mut self, vision: &VisionConfig) {
        let width = vision.tower.width;
        if vision.class_token {
            self.add(TensorId::ClassToken, &[width]);
        }
        if vision.registers > 0 {
            self.add(TensorId::Registers, &[vision.registers, width]);
        }
        self.add(TensorId::Patches(Kind::Weight), &[width, 3, vision.patch, vision.patch]);
        if vision.patch_bias {
            self.add(TensorId::Patches(Kind::Bias), &[width]);
        }
        if vision.pre_norm {
            self.norm(TensorId::PreNorm, width);
        }
        self.tower(Tower::Vision, &vision.tower, vision.positions());
        if vision.pooling == VisionPooling::Attention {
            self.add(TensorId::Probe, &[width]);
            self.attention_and_mlp(TensorId::Pool, &vision.tower);
        }
    }

    /// Positions, blocks and the norm behind them.
    fn tower(&mut self, tower: Tower, config: &TowerConfig, tokens: usize) {
        self.add(TensorId::Positions(tower), &[tokens, config.width]);
        for layer in 0..config.layers {
            let id = |part, kind| TensorId::Block(tower, layer, part, kind);
            self.norm(|kind| id(BlockPart::Norm1, kind), config.width);
            self.attention_and_mlp(id, config);
            if config.layer_scale {
                self.add(TensorId::LayerScale(tower, layer, Branch::Attention), &[config.width]);
                self.add(TensorId::LayerScale(tower, layer, Branch::Mlp), &[config.width]);
            }
        }
        self.norm(|kind| TensorId::FinalNorm(tower, kind), config.width);
    }

    fn attention_and_mlp(&mut self, id: impl Fn(BlockPart, Kind) -> TensorId, config: &TowerConfig) {
        let (width, mlp_width) = (config.width, config.mlp_width);
        self.linear(|kind| id(BlockPart::Projections, kind), 3 * width, width);
        self.linear(|kind| id(BlockPart::Output, kind), width, width);
        self.norm(|kind| id(BlockPart::Norm2, kind), width);
        let expanded = if config.gated { 2 * mlp_width } else { mlp_width };
        self.linear(|kind| id(BlockPart::Expand, kind), expanded, width);
        self.linear(|kind| id(BlockPart::Contract, kind), width, mlp_width);
    }

    /// What of a tensor lies in the file under which name.
    fn stored(&self, id: TensorId) -> Vec<Expected> {
        let shape = &self.shapes[&id];
        match self.names.locate(id) {
            None => Vec::new(),
            Some(Stored::Whole(name)) => vec![Expected { name, shape: shape.clone() }],
            Some(Stored::Transposed(name)) => {
                vec![Expected { name, shape: shape.iter().rev().copied().collect() }]
            }
            Some(Stored::Pieces(pieces)) => {
                let shares: usize = pieces.iter().map(|(_, share)| share).sum();
                let piece = |(name, share): (String, usize)| {
                    let mut shape = shape.clone();
                    shape[0] = shape[0] / shares * share;
                    Expected { name, shape }
                };
                pieces.into_iter().map(piece).collect()
            }
        }
    }
}

/// The logit scale, and the logit bias, 0 where the checkpoint has none.
///
/// # Errors
/// [`Error::Weights`] if a tensor cannot be read, or is not finite.
pub(super) fn logit_numbers(weights: &Weights, config: &ClipConfig) -> Result<(f64, f64)> {
    let parts = Parts::new(weights, config, &Device::Cpu);
    let number = |tensor: Tensor| -> Result<f64> { Ok(f64::from(tensor.to_scalar::<f32>()?)) };
    let bias = parts.optional(TensorId::LogitBias)?.map_or(Ok(0.0), number)?;
    // Without texts nothing was trained to scale a cosine.
    let scale = parts.optional(TensorId::LogitScale)?.map_or(Ok(0.0), number)?.exp();
    for (name, number) in [("logit_scale", scale), ("logit_bias", bias)] {
        if !number.is_finite() {
            let reason = format!("tensor {name}: expected a finite number, found another");
            return Err(Error::Weights { path: weights.path().into(), reason });
        }
    }
    Ok((scale, bias))
}

/// The text tower and what makes its summary the embedding.
pub(super) fn text_tower(
    weights: &Weights,
    config: &ClipConfig,
    device: &Device,
) -> Result<(TextTower, Option<Linear>)> {
    let parts = Parts::new(weights, config, device);
    let projection = parts.optional_linear(|kind| TensorId::Projection(Tower::Text, kind))?;
    let Some(text) = &config.text else { return Err(Error::NoTextTower) };
    let tower = &text.tower;
    let causal = text.attention == TextAttention::Causal;
    if config.names == TensorNames::TransformersClip && reference_is_exact(tower.activation, tower.epsilon) {
        let builder = weights.builder("text_model", device);
        let model = reference::text_model::ClipTextTransformer::new(
            builder,
            &reference_config(text, config.embedding),
        )?;
        return Ok((TextTower::Reference(Box::new(model)), projection));
    }
    let own = OwnTextTower {
        tokens: parts.tensor(TensorId::Tokens)?,
        positions: parts.tensor(TensorId::Positions(Tower::Text))?,
        blocks: parts.blocks(Tower::Text, tower)?,
        final_norm: parts.norm(|kind| TensorId::FinalNorm(Tower::Text, kind), tower.epsilon)?,
        causal,
    };
    Ok((TextTower::Own(own), projection))
}

fn reference_config(text: &TextConfig, embedding: usize) -> ClipTextConfig {
    ClipTextConfig {
        vocab_size: text.vocabulary,
        embed_dim: text.tower.width,
        activation: reference::text_model::Activation::QuickGelu,
        intermediate_size: text.tower.mlp_width,
        max_position_embeddings: text.context,
        pad_with: None,
        num_hidden_layers: text.tower.layers,
        num_attention_heads: text.tower.heads,
        projection_dim: embedding,
    }
}

/// The vision tower.
pub(super) fn vision_tower(weights: &Weights, config: &ClipConfig, device: &Device) -> Result<VisionTower> {
    let parts = Parts::new(weights, config, device);
    let vision = &config.vision;
    let epsilon = vision.tower.epsilon;
    let pre_norm = |_| parts.norm(TensorId::PreNorm, epsilon);
    Ok(VisionTower {
        patches: Linear::new(
            parts.weight(TensorId::Patches(Kind::Weight))?,
            parts.optional(TensorId::Patches(Kind::Bias))?,
        ),
        class: parts.optional(TensorId::ClassToken)?,
        registers: parts.optional(TensorId::Registers)?,
        positions: positions(&parts, vision)?,
        position_resampling: vision.position_resampling,
        pre_norm: vision.pre_norm.then_some(()).map(pre_norm).transpose()?,
        blocks: parts.blocks(Tower::Vision, &vision.tower)?,
        post_norm: parts.norm(|kind| TensorId::FinalNorm(Tower::Vision, kind), epsilon)?,
        pool: match vision.pooling {
            VisionPooling::ClassToken => Pool::ClassToken,
            VisionPooling::MeanOfPatches => Pool::MeanOfPatches,
            VisionPooling::MeanBeforeNorm => Pool::MeanBeforeNorm,
            VisionPooling::MeanUnnormed => Pool::MeanUnnormed,
            VisionPooling::MeanOfTokens => Pool::MeanOfTokens,
            VisionPooling::ClassTokenAndMean => Pool::ClassTokenAndMean,
            VisionPooling::Attention => Pool::Attention(Box::new(parts.pool(&vision.tower)?)),
        },
        projection: parts.optional_linear(|kind| TensorId::Projection(Tower::Vision, kind))?,
        trained: vision.grid(),
        patch: vision.patch,
    })
}

/// The position embedding, with zeros for a class token that has no position.
fn positions(parts: &Parts, vision: &VisionConfig) -> Result<Tensor> {
    let positions = parts.tensor(TensorId::Positions(Tower::Vision))?;
    if !vision.class_token || vision.class_position {
        return Ok(positions);
    }
    Ok(positions.pad_with_zeros(0, 1, 0)?)
}

/// The last layer of a classifier, as targets.
pub(super) fn classes(weights: &Weights, config: &ClipConfig, device: &Device) -> Result<Option<Targets>> {
    let Some(classifier) = &config.classifier else { return Ok(None) };
    let parts = Parts::new(weights, config, device);
    let weight = parts.tensor(TensorId::Classifier(Kind::Weight))?;
    let biases = parts.tensor(TensorId::Classifier(Kind::Bias))?.to_vec1::<f32>()?;
    let biases = biases.into_iter().map(f64::from).collect();
    Targets::new(classifier.feature, &weight, biases, classifier.names.clone()).map(Some)
}

/// Loads the tensors of an inventory.
struct Parts<'a> {
    inventory: Inventory,
    weights: &'a Weights,
    device: &'a Device,
}

impl<'a> Parts<'a> {
    fn new(weights: &'a Weights, config: &ClipConfig, device: &'a Device) -> Self {
        Self { inventory: Inventory::new(config), weights, device }
    }

    fn tensor(&self, id: TensorId) -> Result<Tensor> {
        self.optional(id)?.ok_or_else(|| self.no_such(id))
    }

    fn no_such(&self, id: TensorId) -> Error {
        let reason = format!("a model of this configuration has no tensor {id:?}");
        Error::Weights { path: self.weights.path().into(), reason }
    }

    /// A tensor, unless a model of this configuration has none of that id.
    fn optional(&self, id: TensorId) -> Result<Option<Tensor>> {
        let Some(shape) = self.inventory.shapes.get(&id) else { return Ok(None) };
        let load = |name: &str| self.weights.tensor(name, self.device);
        let tensor = match self.inventory.names.locate(id) {
            None => return Ok(None),
            Some(Stored::Whole(name)) => load(&name)?,
            Some(Stored::Transposed(name)) => load(&name)?.t()?.contiguous()?,
            Some(Stored::Pieces(pieces)) => {
                let names: Vec<String> = pieces.into_iter().map(|(name, _)| name).collect();
                self.weights.joined(&names, self.device)?
            }
        };
        Ok(Some(tensor.reshape(shape.as_slice())?))
    }

    /// The weights of a linear layer.
    fn weight(&self, id: TensorId) -> Result<Weight> {
        self.optional_weight(id)?.ok_or_else(|| self.no_such(id))
    }

    fn optional_weight(&self, id: TensorId) -> Result<Option<Weight>> {
        let Some(shape) = self.inventory.shapes.get(&id) else { return Ok(None) };
        let inputs = shape.iter().skip(1).product();
        let names = match self.inventory.names.locate(id) {
            None => return Ok(None),
            Some(Stored::Transposed(_)) => return Ok(self.optional(id)?.map(Weight::from)),
            Some(Stored::Whole(name)) => vec![name],
            Some(Stored::Pieces(pieces)) => pieces.into_iter().map(|(name, _)| name).collect(),
        };
        self.weights.linear(&names, inputs, self.device).map(Some)
    }

    fn norm(&self, id: impl Fn(Kind) -> TensorId, epsilon: f64) -> Result<LayerNorm> {
        Ok(LayerNorm::new(self.tensor(id(Kind::Weight))?, self.tensor(id(Kind::Bias))?, epsilon))
    }

    fn linear(&self, id: impl Fn(Kind) -> TensorId) -> Result<Linear> {
        Ok(Linear::new(self.weight(id(Kind::Weight))?, Some(self.tensor(id(Kind::Bias))?)))
    }

    fn optional_linear(&self, id: impl Fn(Kind) -> TensorId) -> Result<Option<Linear>> {
        let bias = self.optional(id(Kind::Bias))?;
        Ok(self.optional_weight(id(Kind::Weight))?.map(|weight| Linear::new(weight, bias)))
    }

    /// The layer before a layer scale, and the scale in it: s · (W x + b) is (s · W) x + s · b.
    fn scaled_linear(&self, id: impl Fn(Kind) -> TensorId, scale: TensorId) -> Result<Linear> {
        let linear = self.linear(id)?;
        match self.optional(scale)? {
            Some(scale) => Ok(linear.scaled(&scale)?),
            None => Ok(linear),
        }
    }

    fn blocks(&self, tower: Tower, config: &TowerConfig) -> Result<Vec<Block>> {
        (0..config.layers).into_par_iter().map(|layer| self.block(tower, layer, config)).collect()
    }

    fn block(&self, tower: Tower, layer: usize, config: &TowerConfig) -> Result<Block> {
        let id = |part| move |kind| TensorId::Block(tower, layer, part, kind);
        let scale = |branch| TensorId::LayerScale(tower, layer, branch);
        Ok(Block {
            ln_1: self.norm(id(BlockPart::Norm1), config.epsilon)?,
            attention: Attention {
                projections: self.linear(id(BlockPart::Projections))?,
                output: self.scaled_linear(id(BlockPart::Output), scale(Branch::Attention))?,
                heads: config.heads,
            },
            ln_2: self.norm(id(BlockPart::Norm2), config.epsilon)?,
            mlp: Mlp {
                expand: self.linear(id(BlockPart::Expand))?,
                activation: config.activation,
                gated: config.gated,
                contract: self.scaled_linear(id(BlockPart::Contract), scale(Branch::Mlp))?,
            },
        })
    }

    fn pool(&self, config: &TowerConfig) -> Result<AttentionPool> {
        let id = |part| move |kind| TensorId::Pool(part, kind);
        Ok(AttentionPool {
            probe: self.tensor(TensorId::Probe)?,
            attention: Attention {
                projections: self.linear(id(BlockPart::Projections))?,
                output: self.linear(id(BlockPart::Output))?,
                heads: config.heads,
            },
            norm: self.norm(id(BlockPart::Norm2), config.epsilon)?,
            mlp: Mlp {
                expand: self.linear(id(BlockPart::Expand))?,
                activation: config.activation,
                gated: config.gated,
                contract: self.linear(id(BlockPart::Contract))?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;
    use crate::model::{config::OpenClipConfig, formats::differences::is_leftover};

    fn expected_of(config: &str) -> BTreeMap<String, Vec<usize>> {
        expected_by(&ClipConfig::parse(config.as_bytes(), Path::new("config.json")).expect("is valid"))
    }

    fn expected_by(config: &ClipConfig) -> BTreeMap<String, Vec<usize>> {
        expected(config).into_iter().map(|Expected { name, shape }| (name, shape)).collect()
    }

    #[test]
    fn both_models_of_transformers_have_their_tensors() {
        let small = r#"{"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                        "patch_size": 4, "image_size": 8, "vocab_size": 5, "max_position_embeddings": 3}"#;
        let config = |kind: &str| {
            format!(
                r#"{{"model_type": "{kind}", "projection_dim": 6, "text_config": {small}, "vision_config": {small}}}"#
            )
        };
        let (clip, siglip) = (expected_of(&config("clip")), expected_of(&config("siglip")));
        assert_eq!(
            (clip.len(), siglip.len()),
            (1 + 4 + 2 * 16 + 1 + 3 + 2 + 2 + 1, 2 + 4 + 2 * 16 + 2 + 3 + 2 + 11)
        );
        assert_eq!(clip["text_model.encoder.layers.0.self_attn.k_proj.weight"], [8, 8]);
        assert_eq!(clip["vision_model.embeddings.position_embedding.weight"], [5, 8]);
        assert_eq!(clip["visual_projection.weight"], [6, 8]);
        assert_eq!(siglip["vision_model.embeddings.position_embedding.weight"], [4, 8]);
        assert_eq!(siglip["vision_model.embeddings.patch_embedding.bias"], [8]);
        assert_eq!(siglip["vision_model.head.attention.in_proj_weight"], [24, 8]);
        assert_eq!(siglip["text_model.head.weight"], [8, 8]);
    }

    /// `tests/golden/make_inventories.py` lists the tensors of models as transformers and open_clip build them.
    #[test]
    fn tensors_are_those_that_transformers_and_open_clip_have() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/inventories.json");
        let text = std::fs::read(file).expect("the file exists");
        let inventories: serde_json::Value = serde_json::from_slice(&text).expect("is JSON");
        let without_ones = |shape: &mut Vec<usize>| shape.retain(|side| *side != 1);
        let models = inventories["models"].as_object().expect("an object");
        for (name, model) in models {
            let mut found: BTreeMap<String, Vec<usize>> =
                serde_json::from_value(model["tensors"].clone()).expect("shapes");
            found.retain(|name, _| !is_leftover(name));
            found.values_mut().for_each(without_ones);
            let config = model["config"].to_string();
            let mut expected = if model["form"] == "transformers" {
                expected_of(&config)
            } else {
                let config = OpenClipConfig::parse(config.as_bytes(), Path::new("open_clip_config.json"));
                expected_by(&config.expect("is valid").model)
            };
            expected.retain(|name, _| !is_leftover(name));
            expected.values_mut().for_each(without_ones);
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(models.len(), 5 + 8);
    }
}
