//! Checkpoints in open_clip's form: the same tokens, embeddings and maps as open_clip and pytorch-grad-cam, on the same
//! weights and pixels. `tests/golden/make_open_clip.py` made the expected values.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Tensor};
use fieldmark::{
    Photo, Result,
    embed::Scores,
    geometry::Fit,
    gradient::Differentiation,
    model::{config::OpenClipConfig, preprocess::FitRequest, tokenizer::PromptTokenizer},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::parity::{
    EMBEDDING_TOLERANCE, Golden, MAP_TOLERANCE, cases, largest_difference, layer, print, relative_difference,
    text,
};

/// The checkpoints with weights of their own: pickled, float16 and float32.
const SAVED: [&str; 3] = ["open-clip-gelu", "open-clip-quick-gelu", "open-clip-mean"];
/// The one whose weights are too large to be kept, and are made by a formula.
const FORMULA: &str = "open-clip-timm";

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// The numbers of `formula` in make_open_clip.py: a hash of their place.
fn formula(index: usize, weight: &Value, seed: u64) -> Result<Tensor> {
    let shape: Vec<usize> =
        weight["shape"].as_array().expect("a list").iter().map(|side| number(side) as usize).collect();
    let count: usize = shape.iter().product();
    let (mean, spread) = (number(&weight["mean"]), number(&weight["std"]) * 12_f64.sqrt());
    let value = |place: u64| {
        let hashed = (place + seed + 1_000_003 * index as u64).wrapping_mul(2_654_435_761) % (1 << 32);
        let hashed = (hashed ^ (hashed >> 15)).wrapping_mul(2_246_822_519) % (1 << 32);
        let hashed = hashed ^ (hashed >> 13);
        (mean + spread * (hashed as f64 / f64::from(2_u32).powi(32) - 0.5)) as f32
    };
    Ok(Tensor::from_iter((0..count as u64).map(value), &Device::Cpu)?.reshape(shape)?)
}

/// The checkpoint of timm's form, in a folder of its own with its weights.
fn with_formula() -> Result<(TempDir, Golden)> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(tests().join("fixtures/models").join(FORMULA)).expect("the fixture exists")
    {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("is copied");
    }
    let about = std::fs::read(tests().join(format!("golden/parity/{FORMULA}.json"))).expect("it exists");
    let about: Value = serde_json::from_slice(&about).expect("is JSON");
    let seed = about["seed"].as_u64().expect("a number");
    let weights = about["weights"].as_array().expect("a list").iter().enumerate();
    let tensors: Result<HashMap<String, Tensor>> = weights
        .map(|(index, weight)| Ok((text(&weight["name"]).to_owned(), formula(index, weight, seed)?)))
        .collect();
    candle_core::safetensors::save(&tensors?, folder.path().join("open_clip_model.safetensors"))?;
    let golden = Golden::open_in(folder.path(), FORMULA)?;
    Ok((folder, golden))
}

fn check_texts(golden: &Golden) -> Result<f32> {
    let mut worst = 0.0_f32;
    for (index, case) in golden.cases["tokens"].as_array().expect("a list").iter().enumerate() {
        let prompt = text(&case["prompt"]);
        let tokens = golden.model.tokenize(prompt)?;
        assert_eq!(tokens.ids, ids(&case["ids"]), "{}: {prompt:?}", golden.cases["checkpoint"]);
        let found = golden.model.embed_texts(&[tokens])?.get(0)?;
        worst = worst.max(largest_difference(&found, &golden.tensors["text_embeds"].get(index)?)?);
    }
    Ok(worst)
}

fn check_images(golden: &Golden) -> Result<f32> {
    let texts = golden.compared()?;
    let scale = golden.model.logit_scale();
    let mut worst = 0.0_f32;
    for fit in ["crop0", "crop1"] {
        let embedding = golden.trace(fit, -1, Differentiation::Fastest)?.embedding()?;
        let unit = embedding.broadcast_div(&embedding.sqr()?.sum_all()?.sqrt()?)?;
        worst = worst.max(largest_difference(&unit, &golden.tensors[&format!("image_embeds.{fit}")])?);
        let logits = Scores::new(&unit, &texts, scale)?.with_bias(golden.model.logit_bias()).logits;
        let expected = golden.tensors[&format!("logits.{fit}")].to_vec1::<f32>()?;
        for (found, expected) in logits.iter().zip(expected) {
            assert!((found - f64::from(expected)).abs() < 1e-4 * scale, "{fit}: {found} against {expected}");
        }
    }
    Ok(worst)
}

fn check_maps(golden: &Golden) -> Result<f32> {
    let texts = golden.compared()?;
    let mut worst = 0.0_f32;
    for case in cases(golden) {
        let expected = golden.tensors[text(&case["tensor"])].flatten_all()?;
        for differentiation in [Differentiation::Fastest, Differentiation::Automatic] {
            let trace = golden.trace(text(&case["fit"]), layer(case), differentiation)?;
            let map = golden.map(case, &texts, &trace)?;
            let difference = relative_difference(&map, &expected)?;
            assert!(difference < MAP_TOLERANCE, "{} ({differentiation:?}): {difference}", case["tensor"]);
            worst = worst.max(difference);
        }
    }
    Ok(worst)
}

/// The checkpoint's own preprocessing against open_clip's, in steps of 1/255 of the pixels.
fn check_pixels(golden: &Golden) -> Result<f32> {
    let mut worst = 0.0_f32;
    for (fit, photo) in [("crop0", "shapes-96x64.png"), ("crop1", "shapes-50x83.png")] {
        let photo = Photo::open(tests().join("fixtures/photos").join(photo))?;
        let (preprocess, vision) = (golden.model.preprocess(), &golden.model.config().vision);
        let request = FitRequest { fit: Fit::Crop, patch: vision.patch, trained: vision.grid(), detail: 1.0 };
        let found = preprocess.prepare(&photo, &request)?.pixels;
        let expected = golden.tensors[&format!("pixels.{fit}")].flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(found.len(), expected.len());
        let channel = expected.len() / 3;
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let steps = (found - expected).abs() * preprocess.std[index / channel] * 255.0;
            worst = worst.max(steps);
        }
    }
    Ok(worst)
}

#[test]
fn embeddings_and_maps_are_those_of_open_clip() -> Result<()> {
    let mut table =
        String::from("\nparity with open_clip: texts, images, maps (relative), pixels (of 255)\n");
    let (_folder, timm) = with_formula()?;
    let saved: Result<Vec<_>> = SAVED.iter().map(|name| Ok((*name, Golden::open(name)?))).collect();
    for (name, golden) in saved?.into_iter().chain([(FORMULA, timm)]) {
        let bias = f64::from(golden.tensors["logit_bias"].to_scalar::<f32>()?);
        assert!((golden.model.logit_bias() - bias).abs() < 1e-6, "{name}");
        let (texts, images) = (check_texts(&golden)?, check_images(&golden)?);
        let (maps, pixels) = (check_maps(&golden)?, check_pixels(&golden)?);
        table.push_str(&format!("  {name:21} {texts:.1e}  {images:.1e}  {maps:.1e}  {pixels:.1e}\n"));
        assert!(texts < EMBEDDING_TOLERANCE && images < EMBEDDING_TOLERANCE, "{table}");
        // Means and deviations are subtracted in another order; no value rounds to another level.
        assert!(pixels < 1e-3, "{table}");
    }
    print(&table);
    Ok(())
}

#[test]
fn pickled_weights_are_those_of_the_state_dictionary() -> Result<()> {
    let golden = Golden::open("open-clip-gelu")?;
    let contents = golden.model.weights().contents();
    assert!(contents.keys().all(|name| !name.starts_with("module.")), "{contents:?}");
    assert_eq!(contents["visual.proj"], ("F32".to_owned(), vec![36, 24]));
    assert!(!contents.contains_key("epoch"));
    let projection = golden.model.weights().tensor("visual.proj", &Device::Cpu)?;
    assert_eq!((projection.dims(), projection.dtype()), ([36, 24].as_slice(), DType::F32));
    Ok(())
}

fn inventories() -> Value {
    let text = std::fs::read(tests().join("golden/inventories.json")).expect("the file exists");
    serde_json::from_slice(&text).expect("is JSON")
}

fn read(config: &Value) -> Result<OpenClipConfig> {
    OpenClipConfig::parse(config.to_string().as_bytes(), Path::new("open_clip_config.json"))
}

/// `tests/golden/make_inventories.py` wrote open_clip's ids.
#[test]
fn openais_vocabulary_gives_open_clips_ids() -> Result<()> {
    let golden = std::fs::read(tests().join("golden/open_clip_tokens.json")).expect("the file exists");
    let golden: Value = serde_json::from_slice(&golden).expect("is JSON");
    let config = read(&inventories()["models"]["ViT-B-32"]["config"])?;
    // A folder without a tokenizer: the vocabulary is the crate's.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tokenizer = PromptTokenizer::open(folder.path(), config.model.text.as_ref().unwrap())?;
    let cases = golden["cases"].as_object().expect("an object");
    for (name, case) in cases {
        assert_eq!(tokenizer.tokenize(text(&case["text"]))?.ids, ids(&case["ids"]), "{name}");
    }
    assert_eq!(cases.len(), 23);
    Ok(())
}

#[test]
fn towers_of_other_kinds_are_refused_by_name() {
    for (name, expected) in [
        ("RN50", "vision_cfg.layers: "),
        ("convnext_base", "vision_cfg.timm_model_name: "),
        ("MobileCLIP-S1", "vision_cfg.timm_model_name: "),
        ("MobileCLIP2-S0", "vision_cfg.timm_model_name: "),
        ("coca_ViT-B-32", "multimodal_cfg: "),
        ("roberta-ViT-B-32", "text_cfg.hf_model_name: "),
    ] {
        let message = read(&inventories()["refused"][name]).expect_err(name).to_string();
        assert!(
            message.starts_with(&format!("open_clip_config.json: {expected}expected ")),
            "{name}: {message}"
        );
    }
}
