//! The forms that one and the same Hugging Face checkpoint has had over the years: each is read to the same numbers.

use candle_core::{Device, Tensor};
use fieldmark::model::{Model, config::ClipConfig};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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

/// Extra: every published configuration of transformers is read or refused, each as it should be.
#[test]
#[ignore = "needs ../shared"]
fn published_configurations_are_read_or_refused() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/models");
    let (mut read, mut refused) = (0, Vec::new());
    for path in configurations(&models) {
        let config = read_json(path.clone());
        let kind = config["model_type"].as_str().unwrap_or_default();
        let whole = config.get("text_config").is_some() && config.get("vision_config").is_some();
        let supported = kind == "clip" || kind == "siglip" || (kind.is_empty() && whole);
        match ClipConfig::read(&path) {
            Ok(config) => {
                assert!(supported, "{} was taken", path.display());
                println!(
                    "{}: grid {:?}, embedding {}",
                    path.display(),
                    config.vision.grid(),
                    config.embedding
                );
                read += 1;
            }
            Err(error) => {
                let message = error.to_string();
                assert!(!supported && message.contains("expected \"clip\" or \"siglip\""), "{message}");
                refused.push(message);
            }
        }
    }
    println!("refused:\n{}", refused.join("\n"));
    assert!(read >= 15 && refused.len() >= 5, "read {read}, refused {}", refused.len());
}

/// Every JSON file below a folder that is a configuration of transformers.
fn configurations(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true => found.extend(configurations(&path)),
            false if name == "config.json" || (name.starts_with("clip_") && name.ends_with(".json")) => {
                found.push(path);
            }
            false => {}
        }
    }
    found
}
