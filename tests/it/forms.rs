//! The forms that one and the same Hugging Face checkpoint has had over the years: each is read to the same numbers.

use candle_core::{Device, Tensor};
use fieldmark::model::Model;
use serde_json::{Value, json};
use std::path::PathBuf;

use crate::sandbox::{PROMPT, Sandbox};

fn open(sandbox: &Sandbox) -> Model {
    Model::open(&sandbox.path("model"), Device::Cpu).unwrap_or_else(|error| panic!("{error}"))
}

/// What a checkpoint makes of a prompt.
fn embedding(sandbox: &Sandbox) -> Vec<f32> {
    let model = open(sandbox);
    let rows: Tensor = model.embed_texts(&[model.tokenize(PROMPT).unwrap()]).unwrap();
    rows.get(0).unwrap().to_vec1().unwrap()
}

fn read_json(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_directory_saved_by_newer_transformers() {
    let sandbox = Sandbox::with_model("tiny-gelu");
    let (expected, preprocess) = (embedding(&sandbox), open(&sandbox).preprocess().clone());
    // The image processor lies in processor_config.json, merges are pairs, and dtype is torch_dtype no more.
    let processor = read_json(sandbox.path("model/preprocessor_config.json"));
    std::fs::remove_file(sandbox.path("model/preprocessor_config.json")).unwrap();
    let nested = json!({"image_processor": processor, "processor_class": "CLIPProcessor"});
    sandbox.write("model/processor_config.json", nested.to_string());
    let tokenizer = read_json(sandbox.path("model/tokenizer.json"));
    let merges: Vec<Value> = tokenizer["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
    sandbox.change_json("tokenizer.json", "/model/merges", merges);
    sandbox.change_json("config.json", "/dtype", "float32");
    assert_eq!(embedding(&sandbox), expected);
    assert_eq!(open(&sandbox).preprocess(), &preprocess);
}

/// `"a b"` as `["a", "b"]`.
fn pair(merge: &Value) -> Value {
    match merge.as_str() {
        Some(merge) => merge.split(' ').collect::<Vec<_>>().into(),
        None => merge.clone(),
    }
}

#[test]
fn a_directory_saved_by_older_transformers() {
    let sandbox = Sandbox::with_model("tiny-gelu");
    let (expected, preprocess) = (embedding(&sandbox), open(&sandbox).preprocess().clone());
    // Sizes are numbers, the real values are in *_config_dict, and merges are texts.
    let config = read_json(sandbox.path("model/config.json"));
    for part in ["text_config", "vision_config"] {
        sandbox.change_json("config.json", &format!("/{part}_dict"), config[part].clone());
        sandbox.change_json("config.json", &format!("/{part}"), json!({"hidden_size": 16}));
    }
    sandbox.change_json("config.json", "/torch_dtype", "float32");
    sandbox.change_json("preprocessor_config.json", "/size", 96);
    sandbox.change_json("preprocessor_config.json", "/crop_size", 84);
    let tokenizer = read_json(sandbox.path("model/tokenizer.json"));
    let text = |merge: &Value| match merge.as_array() {
        Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()).into(),
        None => merge.clone(),
    };
    let merges: Vec<Value> = tokenizer["model"]["merges"].as_array().unwrap().iter().map(text).collect();
    sandbox.change_json("tokenizer.json", "/model/merges", merges);
    assert_eq!(embedding(&sandbox), expected);
    assert_eq!(open(&sandbox).preprocess(), &preprocess);
}
