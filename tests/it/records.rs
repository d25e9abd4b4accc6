//! Records can be read back, say all that makes a result again, and `localize --from` does.

use std::path::Path;

use fieldmark::{
    Explainer, Photo, Query, Settings,
    attribution::METHODS,
    explain::CompareQuery,
    report::{Comparison, Localization},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::sandbox::{Outcome, Sandbox, fixture};

const PROMPT: &str = "red square";

/// Whether two values are the same, but for the last digits of numbers.
fn close(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= 1e-12 * one.abs()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| close(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, one)| other.get(name).is_some_and(|other| close(one, other)))
        }
        _ => one == other,
    }
}

fn assert_reads_back<T: Serialize + DeserializeOwned>(record: &T) {
    let json = serde_json::to_string(record).unwrap();
    let read: T = serde_json::from_str(&json).unwrap();
    let (one, other) = (serde_json::to_value(record).unwrap(), serde_json::to_value(read).unwrap());
    assert!(close(&one, &other), "{one}\n{other}");
}

fn explainer() -> Explainer {
    Explainer::load("tests/fixtures/models/tiny-gelu").unwrap()
}

fn photo() -> Photo {
    Photo::open("tests/fixtures/photos/shapes-96x64.png").unwrap()
}

#[test]
fn records_are_read_as_they_are_written() {
    let (explainer, photo) = (explainer(), photo());
    let settings: Settings = serde_json::from_str(
        r#"{"tiles": "2", "refine": ["guided", "affinity"], "artifacts": "suppress", "layers": [-2, -1],
            "layers_combine": "product", "detail": 1.5, "templates": ["a {}."], "threshold": "otsu"}"#,
    )
    .unwrap();
    for settings in [Settings::default(), settings] {
        let query = Query::new(PROMPT).against(["blue circle"]).with(settings.clone());
        let found = explainer.localize(&photo, &query).unwrap();
        assert_reads_back::<Localization>(&found.report);
        let lineup = CompareQuery::default().prompts(vec![PROMPT.into(), "reed".into()]);
        assert_reads_back::<Comparison>(&explainer.rank(&photo, &lineup, &settings).unwrap().report);
    }
}

#[test]
fn what_a_method_chose_by_itself_can_be_asked_for() {
    let explainer = explainer();
    for method in METHODS {
        let settings = Settings::default().method(Some(method.name().into()));
        let setup = explainer.setup(&settings).unwrap();
        let again = explainer.setup(&Settings::try_from(&setup).unwrap()).unwrap();
        assert_eq!(setup, again, "{}", method.name());
    }
}

/// A folder with photos, and `birds.txt`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("birds.txt", "[bird]\nrusty blackbird\nreed warbler\ncrow\n[]\nstone\n");
    sandbox
}

fn localize(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.run(&[&["localize"][..], arguments, &["--json"]].concat())
}

fn without_times(outcome: &Outcome) -> Vec<Value> {
    outcome.assert_done();
    let mut lines = outcome.json();
    lines.iter_mut().for_each(|line| assert!(line["seconds"].take().is_object()));
    lines
}

#[test]
fn a_result_is_made_again_from_its_json() {
    let sandbox = sandbox();
    for options in [
        &[][..],
        &["--against", "blue circle", "--strength", "0.3", "--save", "map,mask"],
        &["--concepts", "birds.txt", "--nearest", "2", "--against", "moss", "--save", "none"],
        &["--concepts", "birds.txt", "--by", "image", "--synonym-threshold", "0.9", "--template", "a {}."],
        &[
            "--concepts",
            "birds.txt",
            "--by",
            "group",
            "--method",
            "grad-eclip",
            "--prompt",
            "rusty blackbird",
        ],
        &["--layers", "-2..-1", "--threshold", "share:0.8", "--detail", "1.25"],
        &["--tiles", "auto", "--refine", "guided", "--artifacts", "suppress", "--scale", "12.5"],
        &["--aggregate", "softmax", "--against", "reed", "--fit", "crop", "--template", "photo"],
        &["--method", "attention-rollout", "--scale", "run"],
    ] {
        let prompt = if options.contains(&"--prompt") { &[][..] } else { &["--prompt", PROMPT] };
        let first = localize(&sandbox, &[&["wide.png", "--model", "model"], prompt, options].concat());
        sandbox.write("result.json", &first.stdout);
        let again = localize(&sandbox, &["--from", "result.json"]);
        assert_eq!(without_times(&first), without_times(&again), "{options:?}");
    }
}

#[test]
fn a_line_of_several_is_meant_by_its_number() {
    let sandbox = sandbox();
    let all = localize(&sandbox, &[PROMPT, "wide.png", "tall.png", "--model", "model", "--save", "none"]);
    let lines = without_times(&all);
    sandbox.write("all.jsonl", format!("\n{}", all.stdout));
    let several = localize(&sandbox, &["--from", "all.jsonl"]);
    several.assert_refused(&["all.jsonl: expected one result, found several"]);
    assert_eq!(without_times(&localize(&sandbox, &["--from", "all.jsonl:3"])), lines[1..]);
    localize(&sandbox, &["--from", "all.jsonl:9"]).assert_refused(&["all.jsonl:9: expected a result"]);
    // Laid out for people, and asked of another photo.
    sandbox.write("pretty.json", format!("{:#}", all.json()[0]));
    assert_eq!(without_times(&localize(&sandbox, &["--from", "pretty.json", "tall.png"])), lines[1..]);
}

#[test]
fn what_is_no_result_or_cannot_be_asked_again_is_refused() {
    let sandbox = sandbox();
    let asked = [PROMPT, "wide.png", "--model", "model", "--save", "none", "--concepts", "birds.txt"];
    let first = localize(&sandbox, &asked);
    sandbox.write("result.json", &first.stdout);
    let again = |more: &[&str]| localize(&sandbox, &[&["--from", "result.json"], more].concat());
    for option in
        [&["--strength", "0.3"][..], &["--model", "miniature"], &["--method", "grad-cam"], &["--layer", "-1"]]
    {
        again(option).assert_refused(&["cannot be used with"]);
    }
    sandbox.write("birds.txt", "crow\n");
    again(&[]).assert_refused(&["concepts: birds.txt is not the list of the result"]);
    for (text, reason) in [
        ("", "expected a result, found none"),
        ("{\"input\": 1}\n", "expected a line of `localize --json`"),
        ("{\"image\": ", "expected a line of `localize --json`"),
    ] {
        sandbox.write("result.json", text);
        again(&[]).assert_refused(&["result.json: ", reason]);
    }
    let mut later = first.json().remove(0);
    later["schema"] = 9.into();
    sandbox.write("result.json", later.to_string());
    again(&[]).assert_refused(&["expected schema 1 or an earlier one, found 9"]);
}

fn recipe(path: &Path) -> Value {
    serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["recipe"].clone()
}

#[test]
fn a_batch_of_before_there_was_a_schema_is_repeated() {
    let sandbox = sandbox();
    let before = fixture("runs/before-schema.json");
    std::fs::copy(&before, sandbox.path("run.json")).unwrap();
    sandbox.run(&["batch", "--from", "run.json", "--output", "again", "--offline"]).assert_done();
    assert_eq!(recipe(&sandbox.path("again/run.json")), recipe(&before));
}

#[test]
fn a_batch_of_before_there_was_a_schema_is_resumed() {
    let sandbox = sandbox();
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    let batch =
        ["batch", "prompts.txt", "wide.png", "--model", "model", "--output", "out", "--save", "map,overlay"];
    sandbox.run(&batch).assert_done();
    // A line as it was: without what is new, and without the end that came later.
    let path = sandbox.path("out/results.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let lacks = |line: &mut Value, names: &[&str]| {
        for name in names {
            assert!(line.as_object_mut().unwrap().remove(*name).is_some(), "{name}");
        }
    };
    let new = ["schema", "version", "model_revision", "model_sha256", "detail", "tiles_asked", "templates"];
    lacks(&mut line["result"], &new);
    lacks(&mut line, &["run", "check"]);
    std::fs::write(&path, format!("{line}\n")).unwrap();
    sandbox.run(&[&batch[..], &["--resume"]].concat()).assert_done();
    let text = std::fs::read_to_string(&path).unwrap();
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(
        line["result"]["schema"].is_null() && line["result"]["prompts"].is_array(),
        "the photo was not asked again"
    );
}
