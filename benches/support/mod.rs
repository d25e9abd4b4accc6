//! What the benchmarks run on: a checkpoint of ViT-B/16's shape with seeded weights, and a photo. Both are written
//! once into Cargo's folder for temporary files.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use image::RgbImage;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

pub(crate) const TOKENS: usize = 197;
pub(crate) const WIDTH: usize = 768;
pub(crate) const HEADS: usize = 12;
pub(crate) const LAYERS: usize = 12;
pub(crate) const MLP: usize = 3072;
const PATCH: usize = 16;
const EMBEDDING: usize = 512;
const TEXT_WIDTH: usize = 512;
const CONTEXT: usize = 77;
/// The little tokenizer of the tests stands in for CLIP's: of the tower's work, only the look-up depends on it.
const TOKENIZER: &str = "tests/fixtures/models/tiny-quick-gelu";
const VOCABULARY: usize = 589;

/// A directory with a checkpoint of the shape of `openai/clip-vit-base-patch16`, but for its vocabulary.
pub(crate) fn checkpoint() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vit-b-16-seeded");
    let weights = directory.join("model.safetensors");
    if !weights.exists() {
        fs::create_dir_all(&directory).expect("the folder can be made");
        for file in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
            fs::copy(Path::new(TOKENIZER).join(file), directory.join(file)).expect("the fixture exists");
        }
        fs::write(directory.join("config.json"), config().to_string()).expect("the disk has room");
        fs::write(directory.join("preprocessor_config.json"), preprocessor().to_string()).expect("it has");
        let unfinished = directory.join("unfinished");
        candle_core::safetensors::save(&tensors(), &unfinished).expect("the disk has room");
        fs::rename(unfinished, weights).expect("the file can be renamed");
    }
    directory
}

fn config() -> serde_json::Value {
    let tower = |width: usize, heads: usize| {
        json!({"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": heads,
            "num_hidden_layers": LAYERS, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5})
    };
    let (mut text, mut vision) = (tower(TEXT_WIDTH, 8), tower(WIDTH, HEADS));
    text["vocab_size"] = VOCABULARY.into();
    text["max_position_embeddings"] = CONTEXT.into();
    (text["bos_token_id"], text["eos_token_id"], text["pad_token_id"]) = (0.into(), 2.into(), 1.into());
    (vision["image_size"], vision["patch_size"]) = (224.into(), PATCH.into());
    json!({"model_type": "clip", "projection_dim": EMBEDDING, "text_config": text, "vision_config": vision})
}

fn preprocessor() -> serde_json::Value {
    json!({"do_resize": true, "size": {"shortest_edge": 224}, "resample": 3, "do_center_crop": true,
        "crop_size": {"height": 224, "width": 224}, "do_rescale": true, "rescale_factor": 1.0 / 255.0,
        "do_normalize": true, "do_convert_rgb": true, "image_mean": [0.481, 0.458, 0.408],
        "image_std": [0.269, 0.261, 0.276]})
}

fn tensors() -> HashMap<String, Tensor> {
    let mut source = Source(ChaCha8Rng::seed_from_u64(16), HashMap::new());
    source.add("logit_scale", &[], 0.0, 100.0_f32.ln());
    source.add("visual_projection.weight", &[EMBEDDING, WIDTH], 0.04, 0.0);
    source.add("text_projection.weight", &[EMBEDDING, TEXT_WIDTH], 0.04, 0.0);
    source.add("text_model.embeddings.token_embedding.weight", &[VOCABULARY, TEXT_WIDTH], 1.0, 0.0);
    source.add("text_model.embeddings.position_embedding.weight", &[CONTEXT, TEXT_WIDTH], 0.1, 0.0);
    let embeddings = "vision_model.embeddings";
    source.add(&format!("{embeddings}.class_embedding"), &[WIDTH], 1.0, 0.0);
    source.add(&format!("{embeddings}.position_embedding.weight"), &[TOKENS, WIDTH], 0.1, 0.0);
    source.add(&format!("{embeddings}.patch_embedding.weight"), &[WIDTH, 3, PATCH, PATCH], 0.04, 0.0);
    source.norm("vision_model.pre_layrnorm", WIDTH);
    source.norm("vision_model.post_layernorm", WIDTH);
    source.norm("text_model.final_layer_norm", TEXT_WIDTH);
    for layer in 0..LAYERS {
        source.block(&format!("vision_model.encoder.layers.{layer}"), WIDTH);
        source.block(&format!("text_model.encoder.layers.{layer}"), TEXT_WIDTH);
    }
    source.1
}

struct Source(ChaCha8Rng, HashMap<String, Tensor>);

impl Source {
    /// Uniform around `centre`, at most `reach` away.
    fn add(&mut self, name: &str, shape: &[usize], reach: f32, centre: f32) {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| centre + reach * self.0.random_range(-1.0..=1.0)).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("the shape fits");
        self.1.insert(name.into(), tensor);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width], 0.1, 1.0);
        self.add(&format!("{name}.bias"), &[width], 0.1, 0.0);
    }

    fn linear(&mut self, name: &str, to: usize, from: usize) {
        self.add(&format!("{name}.weight"), &[to, from], (3.0 / from as f32).sqrt(), 0.0);
        self.add(&format!("{name}.bias"), &[to], 0.05, 0.0);
    }

    fn block(&mut self, name: &str, width: usize) {
        self.norm(&format!("{name}.layer_norm1"), width);
        self.norm(&format!("{name}.layer_norm2"), width);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            self.linear(&format!("{name}.self_attn.{part}"), width, width);
        }
        self.linear(&format!("{name}.mlp.fc1"), 4 * width, width);
        self.linear(&format!("{name}.mlp.fc2"), width, 4 * width);
    }
}

/// A JPEG of 1800 x 1200 with coarse and fine structure.
pub(crate) fn photo() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("photo.jpg");
    if !path.exists() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let picture = RgbImage::from_fn(1800, 1200, |x, y| {
            let wave =
                |step: f32, phase: f32| ((x as f32 / step).sin() + (y as f32 / step + phase).cos()) * 50.0;
            let noise: f32 = random.random_range(-8.0..8.0);
            image::Rgb([0.0, 1.0, 2.0].map(|phase| (128.0 + wave(90.0, phase) + noise) as u8))
        });
        let quality = libjpeg_turbo_rs::compress(
            picture.as_raw(),
            1800,
            1200,
            libjpeg_turbo_rs::PixelFormat::Rgb,
            90,
            libjpeg_turbo_rs::Subsampling::S420,
        );
        fs::write(&path, quality.expect("a picture can be compressed")).expect("the disk has room");
    }
    path
}
