//! `fieldmark models`: the catalogue, and the description of one checkpoint.

use std::path::Path;

use fieldmark::model::catalogue;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, Weights};

/// Puts a checkpoint of the fixtures into the cache, as a repository of the Hub.
fn cache(sandbox: &Sandbox, repo: &str) {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let folder = format!("home/.cache/huggingface/hub/models--{}", repo.replace('/', "--"));
    sandbox.write(format!("{folder}/refs/main"), commit);
    for name in sandbox.names("model") {
        let bytes = std::fs::read(sandbox.path("model").join(&name)).unwrap();
        sandbox.write(format!("{folder}/snapshots/{commit}/{name}"), bytes);
    }
}

fn inspect(sandbox: &Sandbox, model: &str) -> Value {
    let outcome = sandbox.run(&["models", model, "--json"]);
    outcome.assert_done();
    outcome.json().remove(0)
}

#[test]
fn the_catalogue_lists_what_is_in_the_cache() {
    let sandbox = Sandbox::new();
    cache(&sandbox, "imageomics/bioclip");
    cache(&sandbox, "someone/birds");
    sandbox.write("home/.cache/huggingface/hub/models--someone--words/refs/main", "nothing");
    let outcome = sandbox.run(&["models", "--json"]);
    outcome.assert_done();
    let rows = outcome.json();
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap_or(&Value::Null);
    assert_eq!(row("openai/clip-vit-base-patch16")["ready"], false);
    assert_eq!(row("openai/clip-vit-base-patch16")["grid"], 14);
    assert_eq!(row("miniature")["ready"], true);
    assert_eq!(row("imageomics/bioclip")["ready"], true);
    assert!(row("imageomics/bioclip")["cached_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(row("imageomics/bioclip")["family"], "BioCLIP");
    let other = row("someone/birds");
    assert_eq!(
        (&other["family"], &other["format"], &other["grid"]),
        (&Value::Null, &"transformers".into(), &8.into())
    );
    assert_eq!(row("someone/words"), &Value::Null, "it is no model of this kind");
    let text = sandbox.run(&["models"]).stdout;
    assert!(text.contains("* imageomics/bioclip ") && text.contains("* someone/birds "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_description_of_a_checkpoint_is_printed() {
    let sandbox = Sandbox::new();
    let found = inspect(&sandbox, "model");
    let expected = [
        ("/model", json!("model")),
        ("/format", json!("CLIP (transformers)")),
        ("/vision/layers", json!(4)),
        ("/vision/width", json!(48)),
        ("/vision/activation", json!("quick_gelu")),
        ("/vision/layer_norm_epsilon", json!(1e-5)),
        ("/vision/grid", json!([8, 8])),
        ("/vision/pooling", json!("class token")),
        ("/text/attention", json!("causal")),
        ("/embedding", json!(24)),
        ("/probability_kind", json!("softmax")),
        ("/tokenizer/kind", json!("BPE")),
        ("/tokenizer/lowercases", json!(true)),
        ("/tokenizer/pad", Value::Null),
        ("/preprocess/resize", json!("shorter")),
        ("/weights/missing", json!([])),
        ("/weights/unused", json!([])),
        ("/commit", Value::Null),
    ];
    for (place, value) in expected {
        assert_eq!(found.pointer(place), Some(&value), "{place}: {found:#}");
    }
    let towers = ["vision", "text"].map(|tower| found[tower]["parameters"].as_u64().unwrap());
    // Both towers and the scale.
    assert_eq!(found["weights"]["parameters"], towers[0] + towers[1] + 1);
    let files: Vec<&str> =
        found["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!((files[0], files[files.len() - 1]), ("config.json", "model.safetensors"));
    let text = sandbox.run(&["models", "model"]).stdout;
    assert!(text.contains("a grid of 8 x 8") && text.contains("nothing missing"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_shipped_checkpoint_and_a_cached_one_are_described() {
    let sandbox = Sandbox::new();
    let found = inspect(&sandbox, "miniature");
    assert_eq!((&found["directory"], &found["files"]), (&Value::Null, &json!([])));
    assert_eq!(found["recommended_method"], "hires-cam");
    cache(&sandbox, "someone/birds");
    let outcome = sandbox.run(&["models", "someone/birds", "--json", "--offline"]);
    outcome.assert_done();
    assert_eq!(outcome.json()[0]["commit"], "0123456789abcdef0123456789abcdef01234567");
}

#[test]
fn tensors_that_do_not_fit_are_listed_and_the_status_says_so() {
    let sandbox = Sandbox::new();
    let path = sandbox.path("model/model.safetensors");
    let mut weights = Weights::read(&path);
    let tensor = weights.header.remove("visual_projection.weight").unwrap();
    weights.header.insert("visual_projection.wait".into(), tensor);
    let tensor = &mut weights.header["text_projection.weight"];
    let shape: Vec<Value> = tensor["shape"].as_array().unwrap().iter().rev().cloned().collect();
    tensor["shape"] = shape.into();
    weights.write(&path);
    let outcome = sandbox.run(&["models", "model", "--json"]);
    assert_eq!(outcome.status, Some(2), "{outcome:#?}");
    let found = &outcome.json()[0]["weights"];
    assert_eq!(found["missing"], json!(["visual_projection.weight"]));
    assert_eq!(found["unused"], json!(["visual_projection.wait"]));
    assert_eq!(found["misshapen"][0][0], "text_projection.weight");
    let leftovers = ["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"];
    assert_eq!(found["ignored"], json!(leftovers));
    let outcome = sandbox.run(&["models", "model"]);
    assert_eq!(outcome.status, Some(2));
    for part in ["missing: 1", "unused: 1", "of another shape: 1", "ignored: 2", "  visual_projection.wait"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
}

#[test]
fn a_broken_checkpoint_is_one_error() {
    let sandbox = Sandbox::new();
    sandbox.write("model/config.json", "{");
    sandbox.run(&["models", "model"]).assert_refused(&["model/config.json", "not valid JSON"]);
    sandbox.run(&["models", "nowhere/else", "--offline"]).assert_refused(&["nowhere/else", "offline"]);
    sandbox.run(&["models", "./nothing"]).assert_refused(&["./nothing", "no such directory"]);
}

#[test]
fn the_book_has_the_catalogue() {
    let row = |cells: [&str; 6]| {
        let cells = cells.map(|cell| if cell.is_empty() { " ".to_owned() } else { format!(" {cell} ") });
        format!("|{}|\n", cells.join("|"))
    };
    let mut table =
        row(["checkpoint", "parameters", "input", "grid", "licence", "for"]) + "|---|---|---|---|---|---|\n";
    for family in catalogue::families().unwrap() {
        let mut purpose = format!("{}: {}", family.name, family.purpose);
        for checkpoint in &family.checkpoints {
            let side = checkpoint.grid();
            table += &row([
                &format!("`{}`", checkpoint.id),
                &format!("{:.1} M", checkpoint.parameters as f64 / 1e6),
                &checkpoint.image_size.to_string(),
                &format!("{side} x {side}"),
                checkpoint.licence.as_deref().unwrap_or_default(),
                &std::mem::take(&mut purpose),
            ]);
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/book/src/reference/checkpoints.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&table), "docs/book/src/reference/checkpoints.md should have:\n{table}");
}
