//! The checkpoint that ships: the same numbers as transformers, and a sense of what a red shoulder is.
//! `tests/golden/make_miniature.py` made the expected values.

use candle_core::{Device, Tensor};
use fieldmark::gradient::{Differentiation, LayerTrace};
use fieldmark::model::Model;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The largest difference of any component of a unit vector.
const TOLERANCE: f32 = 1e-4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn miniature() -> Model {
    Model::open(&root().join("weights/miniature"), Device::Cpu).expect("the checkpoint that ships opens")
}

fn golden() -> Value {
    let text = std::fs::read(root().join("tests/golden/miniature.json")).expect("the golden file exists");
    serde_json::from_slice(&text).expect("the golden file is JSON")
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

/// The formula of the Python script.
fn pixels() -> Tensor {
    let mut values = Vec::with_capacity(3 * 96 * 96);
    for channel in 0..3 {
        for y in 0..96 {
            values.extend(
                (0..96).map(|x| (0.05 * f64::from(channel + 1) * f64::from(x) + 0.07 * f64::from(y)).sin()),
            );
        }
    }
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Tensor::from_vec(values, (3, 96, 96), &Device::Cpu).expect("a value a pixel")
}

fn largest_difference(found: &Tensor, expected: Vec<f32>) -> f32 {
    let expected = Tensor::new(expected, &Device::Cpu).expect("a list of numbers");
    let difference = (found - expected).expect("the same length").abs().expect("numbers");
    difference.max_all().expect("not empty").to_scalar().expect("a number")
}

#[test]
fn the_picture_has_the_embedding_that_transformers_gives_it() {
    let model = miniature();
    let tower = model.vision().expect("a picture tower");
    let trace =
        LayerTrace::new(tower, &pixels(), tower.layers() - 1, Differentiation::Fastest).expect("a trace");
    let embedding = trace.embedding().expect("an embedding");
    let length = embedding.sqr().and_then(|x| x.sum_all()).and_then(|x| x.sqrt()).expect("a length");
    let unit = embedding.broadcast_div(&length).expect("a vector");
    let off = largest_difference(&unit, floats(&golden()["image_embedding"]));
    assert!(off < TOLERANCE, "{off}");
}

#[test]
fn the_texts_have_the_ids_and_embeddings_that_transformers_gives_them() {
    let model = miniature();
    for case in golden()["texts"].as_array().expect("a list") {
        let text = case["text"].as_str().expect("a text");
        let tokens = model.tokenize(text).expect("any text is tokenized");
        let ids: Vec<u32> = floats(&case["ids"]).into_iter().map(|id| id as u32).collect();
        assert_eq!(tokens.ids, ids, "{text}");
        let embedding = model.embed_texts(&[tokens]).and_then(|rows| Ok(rows.get(0)?)).expect("an embedding");
        let off = largest_difference(&embedding, floats(&case["embedding"]));
        assert!(off < TOLERANCE, "{text}: {off}");
    }
}
