//! Named tensors become the towers. The names are those that transformers gives a `CLIPModel`.

use candle_core::{Device, Tensor};
use candle_transformers::models::clip::{self as reference, text_model::ClipTextConfig};
use rayon::prelude::*;

use super::{
    config::{ClipConfig, TowerConfig},
    nn::{Block, LayerNorm, Linear, OwnTextTower, TextTower, VisionTower, reference_is_exact},
    weights::{Expected, Weights},
};
use crate::error::Result;

/// Every tensor that a checkpoint of this configuration has.
pub(super) fn expected(config: &ClipConfig) -> Vec<Expected> {
    let (text, vision) = (&config.text, &config.vision);
    let mut list = List(Vec::new());
    list.add("logit_scale", &[]);
    list.add("text_model.embeddings.token_embedding.weight", &[text.vocabulary, text.tower.width]);
    list.add("text_model.embeddings.position_embedding.weight", &[text.context, text.tower.width]);
    list.tower("text_model", &text.tower);
    list.norm("text_model.final_layer_norm", text.tower.width);
    list.add("text_projection.weight", &[config.embedding, text.tower.width]);
    let width = vision.tower.width;
    list.add("vision_model.embeddings.class_embedding", &[width]);
    list.add("vision_model.embeddings.patch_embedding.weight", &[width, 3, vision.patch, vision.patch]);
    list.add("vision_model.embeddings.position_embedding.weight", &[1 + vision.grid().cells(), width]);
    list.norm("vision_model.pre_layrnorm", width);
    list.tower("vision_model", &vision.tower);
    list.norm("vision_model.post_layernorm", width);
    list.add("visual_projection.weight", &[config.embedding, width]);
    list.0
}

struct List(Vec<Expected>);

impl List {
    fn add(&mut self, name: &str, shape: &[usize]) {
        self.0.push(Expected { name: name.into(), shape: shape.into() });
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width]);
        self.add(&format!("{name}.bias"), &[width]);
    }

    fn linear(&mut self, name: &str, to: usize, from: usize) {
        self.add(&format!("{name}.weight"), &[to, from]);
        self.add(&format!("{name}.bias"), &[to]);
    }

    fn tower(&mut self, name: &str, tower: &TowerConfig) {
        for layer in 0..tower.layers {
            let block = format!("{name}.encoder.layers.{layer}");
            self.norm(&format!("{block}.layer_norm1"), tower.width);
            for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&format!("{block}.self_attn.{part}"), tower.width, tower.width);
            }
            self.norm(&format!("{block}.layer_norm2"), tower.width);
            self.linear(&format!("{block}.mlp.fc1"), tower.mlp_width, tower.width);
            self.linear(&format!("{block}.mlp.fc2"), tower.width, tower.mlp_width);
        }
    }
}

/// The text tower and the projection of its output, [embedding, width].
pub(super) fn text_tower(
    weights: &Weights,
    config: &ClipConfig,
    device: &Device,
) -> Result<(TextTower, Tensor)> {
    let parts = Parts { weights, device };
    let projection = parts.tensor("text_projection.weight")?;
    let tower = &config.text.tower;
    if reference_is_exact(tower.activation, tower.epsilon) {
        let builder = weights.builder("text_model", device);
        let model = reference::text_model::ClipTextTransformer::new(builder, &reference_config(config))?;
        return Ok((TextTower::Reference(Box::new(model)), projection));
    }
    let own = OwnTextTower {
        tokens: parts.tensor("text_model.embeddings.token_embedding.weight")?,
        positions: parts.tensor("text_model.embeddings.position_embedding.weight")?,
        blocks: parts.blocks("text_model", tower)?,
        final_norm: parts.norm("text_model.final_layer_norm", tower.epsilon)?,
    };
    Ok((TextTower::Own(own), projection))
}

fn reference_config(config: &ClipConfig) -> ClipTextConfig {
    ClipTextConfig {
        vocab_size: config.text.vocabulary,
        embed_dim: config.text.tower.width,
        activation: reference::text_model::Activation::QuickGelu,
        intermediate_size: config.text.tower.mlp_width,
        max_position_embeddings: config.text.context,
        pad_with: None,
        num_hidden_layers: config.text.tower.layers,
        num_attention_heads: config.text.tower.heads,
        projection_dim: config.embedding,
    }
}

/// The vision tower.
pub(super) fn vision_tower(weights: &Weights, config: &ClipConfig, device: &Device) -> Result<VisionTower> {
    let parts = Parts { weights, device };
    let tower = &config.vision.tower;
    let patches = parts.tensor("vision_model.embeddings.patch_embedding.weight")?.flatten_from(1)?;
    Ok(VisionTower {
        patches: Linear::new(patches, None),
        class: parts.tensor("vision_model.embeddings.class_embedding")?,
        positions: parts.tensor("vision_model.embeddings.position_embedding.weight")?,
        pre_norm: parts.norm("vision_model.pre_layrnorm", tower.epsilon)?,
        blocks: parts.blocks("vision_model", tower)?,
        post_norm: parts.norm("vision_model.post_layernorm", tower.epsilon)?,
        projection: Linear::new(parts.tensor("visual_projection.weight")?, None),
        trained: config.vision.grid(),
        patch: config.vision.patch,
    })
}

struct Parts<'a> {
    weights: &'a Weights,
    device: &'a Device,
}

impl Parts<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.weights.tensor(name, self.device)
    }

    fn norm(&self, name: &str, epsilon: f64) -> Result<LayerNorm> {
        let tensor = |part: &str| self.tensor(&format!("{name}.{part}"));
        Ok(LayerNorm::new(tensor("weight")?, tensor("bias")?, epsilon))
    }

    fn linear(&self, name: &str) -> Result<Linear> {
        let tensor = |part: &str| self.tensor(&format!("{name}.{part}"));
        Ok(Linear::new(tensor("weight")?, Some(tensor("bias")?)))
    }

    fn blocks(&self, name: &str, tower: &TowerConfig) -> Result<Vec<Block>> {
        let layers = (0..tower.layers).into_par_iter();
        layers.map(|layer| self.block(&format!("{name}.encoder.layers.{layer}"), tower)).collect()
    }

    fn block(&self, name: &str, tower: &TowerConfig) -> Result<Block> {
        let attention = |part: &str| -> Result<Tensor> {
            let tensor = |projection: &str| self.tensor(&format!("{name}.self_attn.{projection}.{part}"));
            Ok(Tensor::cat(&[tensor("q_proj")?, tensor("k_proj")?, tensor("v_proj")?], 0)?)
        };
        Ok(Block {
            ln_1: self.norm(&format!("{name}.layer_norm1"), tower.epsilon)?,
            projections: Linear::new(attention("weight")?, Some(attention("bias")?)),
            output: self.linear(&format!("{name}.self_attn.out_proj"))?,
            ln_2: self.norm(&format!("{name}.layer_norm2"), tower.epsilon)?,
            expand: self.linear(&format!("{name}.mlp.fc1"))?,
            activation: tower.activation,
            contract: self.linear(&format!("{name}.mlp.fc2"))?,
            heads: tower.heads,
        })
    }
}
