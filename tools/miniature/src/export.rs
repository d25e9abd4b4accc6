//! Writes a model as a Hugging Face CLIP checkpoint directory.

use crate::batch::{DEVIATION, MEAN};
use crate::model::Model;
use crate::tokenizer::{Bpe, END, START};
use crate::train::save_whole;
use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Writes every file of the checkpoint but its model card.
pub fn write(model: &Model, bpe: &Bpe, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    save_whole(&tensors(model)?, &folder.join("model.safetensors"))?;
    let json_files = [
        ("config.json", config(model, bpe)?),
        ("tokenizer.json", bpe.tokenizer_json()),
        ("tokenizer_config.json", tokenizer_config(model)),
        ("vocab.json", json!(bpe.vocabulary())),
        ("preprocessor_config.json", preprocessor_config(model)),
    ];
    for (name, value) in json_files {
        let path = folder.join(name);
        let text = serde_json::to_string_pretty(&value)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let path = folder.join("merges.txt");
    std::fs::write(&path, bpe.merges_txt()).with_context(|| format!("writing {}", path.display()))
}

/// The variables under Hugging Face's names, in float16.
fn tensors(model: &Model) -> Result<HashMap<String, Tensor>> {
    let (width, patch) = (model.sizes.width, model.sizes.patch);
    let mut tensors = HashMap::new();
    for (name, var) in &model.vars {
        let tensor = var.as_tensor().to_dtype(DType::F16)?;
        if name == "logit_bias" || name.starts_with("dense.") {
            continue;
        } else if name.contains(".qkv.") {
            for (part, letter) in ["q", "k", "v"].iter().enumerate() {
                let name = name.replace(".qkv.", &format!(".{letter}_proj."));
                tensors.insert(name, tensor.narrow(0, part * width, width)?.contiguous()?);
            }
        } else if name.ends_with("patch_embedding.weight") {
            tensors.insert(name.clone(), tensor.reshape((width, 3, patch, patch))?);
        } else {
            tensors.insert(name.clone(), tensor);
        }
    }
    Ok(tensors)
}

fn config(model: &Model, bpe: &Bpe) -> Result<Value> {
    let sizes = &model.sizes;
    let tower = |blocks: usize, kind: &str| {
        json!({"model_type": kind, "hidden_size": sizes.width, "intermediate_size": 4 * sizes.width,
               "num_hidden_layers": blocks, "num_attention_heads": sizes.heads, "hidden_act": "quick_gelu",
               "layer_norm_eps": 1e-5, "projection_dim": sizes.width, "attention_dropout": 0.0,
               "initializer_factor": 1.0, "initializer_range": 0.02})
    };
    let mut text = tower(sizes.text_blocks, "clip_text_model");
    text["vocab_size"] = json!(sizes.vocabulary);
    text["max_position_embeddings"] = json!(sizes.context);
    text["bos_token_id"] = json!(bpe.len() - 2);
    text["eos_token_id"] = json!(bpe.len() - 1);
    text["pad_token_id"] = json!(bpe.len() - 1);
    let mut vision = tower(sizes.vision_blocks, "clip_vision_model");
    vision["image_size"] = json!(sizes.image);
    vision["patch_size"] = json!(sizes.patch);
    vision["num_channels"] = json!(3);
    let scale = model.get("logit_scale")?.to_scalar::<f32>()?;
    // transformers' CLIP has neither a bias nor a method; fieldmark reads the one for the probability that something
    // is there at all, and the other as its default, because the pointing term trains that method's maps.
    let bias = model.get("logit_bias")?.to_scalar::<f32>()?;
    Ok(json!({"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": sizes.width,
              "logit_scale_init_value": scale, "initializer_factor": 1.0, "dtype": "float16",
              "logit_bias": bias, "fieldmark": {"method": "hires-cam", "vocabulary": crate::captions::vocabulary()}, "text_config": text, "vision_config": vision}))
}

fn tokenizer_config(model: &Model) -> Value {
    json!({"tokenizer_class": "CLIPTokenizer", "model_max_length": model.sizes.context, "do_lower_case": true,
           "bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END,
           "clean_up_tokenization_spaces": false})
}

fn preprocessor_config(model: &Model) -> Value {
    let side = model.sizes.image;
    json!({"image_processor_type": "CLIPImageProcessor", "do_convert_rgb": true, "do_resize": true, "resample": 3,
           "size": {"shortest_edge": side}, "do_center_crop": true,
           "crop_size": {"height": side, "width": side}, "do_rescale": true, "rescale_factor": 1.0 / 255.0,
           "do_normalize": true, "image_mean": [MEAN, MEAN, MEAN],
           "image_std": [DEVIATION, DEVIATION, DEVIATION]})
}
