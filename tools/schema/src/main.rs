//! Writes the JSON Schema of every kind of line that the program prints or keeps into docs/schema: `cargo xtask schema`.
//! With `--check` it compares, and changes nothing.

use std::{env, fs, path::Path};

use anyhow::{Context, Result, ensure};
use fieldmark_evaluate::evaluate::{Failure, Record, Row, Summary};
use fieldmark_explain::{
    explain::{Query, Settings},
    report::{Comparison, Localization},
};
use fieldmark_model::folder::Skipped;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

/// Where the schemas are, from the top of the repository.
const FOLDER: &str = "docs/schema";

/// The schema of what is written as JSON, not of what is read: a field that is always written is required.
fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// Adds a property that a command adds to a record, and what its schema refers to.
fn with(mut record: Value, name: &str, mut property: Value, required: bool) -> Value {
    if let Some(Value::Object(definitions)) = property.as_object_mut().and_then(|one| one.remove("$defs")) {
        let all = &mut record["$defs"];
        if all.is_null() {
            *all = json!({});
        }
        for (name, definition) in definitions {
            all[name] = definition;
        }
    }
    if let Some(property) = property.as_object_mut() {
        property.remove("$schema");
    }
    record["properties"][name] = property;
    if required && let Some(names) = record["required"].as_array_mut() {
        names.push(name.into());
    }
    record
}

/// A file as `batch` records it.
fn input() -> Value {
    json!({
        "type": "object",
        "properties": {
            "image": {"type": "string"},
            "image_bytes": {"type": "string"},
            "bytes": {"type": "integer", "minimum": 0},
            "sha256": {"type": "string"},
        },
        "required": ["image", "bytes", "sha256"],
    })
}

/// A line of results.jsonl: a photo, the line of `compare` about it, and what the line ends in.
fn batch_line() -> Value {
    let line = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "BatchLine",
        "description": "A line of results.jsonl, which `batch` writes.",
        "type": "object",
        "properties": {"run": {"type": "string"}, "check": {"type": "string"}},
        "required": [],
    });
    with(with(line, "input", input(), true), "result", schema::<Comparison>(), true)
}

/// `run.json` of a batch.
fn batch_run() -> Value {
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let mut recipe = schema::<Settings>();
    for (name, property, required) in [
        ("model", json!({"type": "string"}), true),
        ("model_bytes", json!({"type": "string"}), false),
        ("prompts", texts(), true),
        ("save", texts(), true),
        ("scale", json!({"type": "string"}), true),
        ("bar", json!({"type": "boolean"}), true),
        ("strength_in_reports", json!({"type": ["number", "null"]}), true),
        ("pixel_limit", json!({"type": "integer", "minimum": 0}), true),
        ("precision", json!({"type": "string", "enum": ["auto", "f32", "bf16"]}), true),
        ("images", texts(), true),
        ("images_bytes", texts(), false),
    ] {
        recipe = with(recipe, name, property, required);
    }
    let failed = json!({
        "type": "object",
        "properties": {
            "image": {"type": "string"}, "image_bytes": {"type": "string"}, "reason": {"type": "string"},
        },
        "required": ["image", "reason"],
    });
    let number = || json!({"type": ["number", "null"]});
    let scale = json!({"type": "object", "properties": {"overlay": number(), "heatmap": number()}});
    let mut run = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "BatchRun",
        "description": "run.json, which `batch` writes.",
        "type": "object",
        "properties": {
            "fieldmark": {"type": "string"},
            "model_sha256": {"type": ["string", "null"]},
            "inputs": {"type": "array", "items": input()},
            "failed": {"type": "array", "items": failed},
            "outputs": texts(),
            "scale": scale,
            "schema": {"type": "integer", "minimum": 0},
            "model_revision": {"type": ["string", "null"]},
        },
        "required": ["fieldmark", "model_sha256", "inputs", "failed", "outputs", "schema", "model_revision"],
    });
    run = with(run, "recipe", recipe, true);
    with(run, "skipped", schema::<Skipped>(), false)
}

/// `run.json` of an evaluation.
fn evaluate_run() -> Value {
    let whole = || json!({"type": "integer", "minimum": 0});
    let shard = json!({"type": ["object", "null"], "properties": {"index": whole(), "count": whole()}});
    let mut run = schema::<Record>();
    for (name, property, required) in [
        ("fieldmark", json!({"type": "string"}), true),
        ("model_sha256", json!({"type": ["string", "null"]}), true),
        ("dataset", json!({"type": "string"}), true),
        ("dataset_bytes", json!({"type": "string"}), false),
        ("questions_sha256", json!({"type": "string"}), true),
        ("pictures", whole(), true),
        ("shard", shard, true),
        ("skipped", schema::<Skipped>(), false),
        ("warnings", json!({"type": "array", "items": {"type": "string"}}), false),
    ] {
        run = with(run, name, property, required);
    }
    run["title"] = "EvaluationRun".into();
    run["description"] = "run.json, which `evaluate` writes.".into();
    run
}

/// Makes text for Rust's documentation plain: no links, one line.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("description") {
                let part = |(place, part): (usize, &str)| match (place, part.split_once(')')) {
                    (1.., Some((_, rest))) => rest.to_owned(),
                    _ => part.to_owned(),
                };
                let without_targets: String = text.split("](").enumerate().map(part).collect();
                *text = without_targets.replace("[`", "`").replace("`]", "`").replace('\n', " ");
            }
            fields.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

fn main() -> Result<()> {
    let check = env::args().any(|argument| argument == "--check");
    let localization = with(schema::<Localization>(), "skipped", schema::<Skipped>(), false);
    for (name, mut schema) in [
        ("query", schema::<Query>()),
        ("localize", localization),
        ("compare", schema::<Comparison>()),
        ("batch-line", batch_line()),
        ("batch-run", batch_run()),
        ("evaluate", schema::<Summary>()),
        ("evaluate-row", schema::<Row>()),
        ("evaluate-failure", schema::<Failure>()),
        ("evaluate-run", evaluate_run()),
    ] {
        plain(&mut schema);
        let path = Path::new(FOLDER).join(format!("{name}.json"));
        let text = format!("{schema:#}\n");
        if check {
            let found =
                fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
            ensure!(found == text, "{}: is not up to date; run `cargo xtask schema`", path.display());
        } else {
            fs::create_dir_all(FOLDER)?;
            fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        }
    }
    Ok(())
}
