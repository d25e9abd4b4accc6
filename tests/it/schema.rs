//! What the program prints and keeps is as docs/schema says, field by field.

use std::path::Path;

use serde_json::Value;

use crate::sandbox::Sandbox;

/// What is wrong with a value by a schema; fields that the schema does not list are wrong too, so that none is forgotten.
struct Check<'s> {
    root: &'s Value,
    wrong: Vec<String>,
}

impl<'s> Check<'s> {
    fn value(&mut self, schema: &'s Value, value: &Value, at: &str) {
        if let Some(target) = schema["$ref"].as_str() {
            let target = target.strip_prefix('#').unwrap();
            return self.value(self.root.pointer(target).expect("the reference leads somewhere"), value, at);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let fits = |one: &&'s Value| {
                    let mut check = Check { root: self.root, wrong: Vec::new() };
                    check.value(one, value, at);
                    check.wrong.is_empty()
                };
                return if choices.iter().any(|one| fits(&one)) {
                } else {
                    self.found(at, value, choice)
                };
            }
        }
        if let Some(names) = schema["enum"].as_array()
            && !names.contains(value)
        {
            self.found(at, value, "enum");
        }
        if !has_type(&schema["type"], value) {
            self.found(at, value, &schema["type"].to_string());
        }
        if schema["minimum"].as_f64().zip(value.as_f64()).is_some_and(|(least, value)| value < least) {
            self.found(at, value, "minimum");
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, at),
            Value::Array(items) => self.array(schema, items, at),
            _ => {}
        }
    }

    fn object(&mut self, schema: &'s Value, fields: &serde_json::Map<String, Value>, at: &str) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.wrong.push(format!("{at}: lacks {name}"));
            }
        }
        for (name, value) in fields {
            let place = format!("{at}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(property), _) => self.value(property, value, &place),
                (None, Some(others @ Value::Object(_))) => self.value(others, value, &place),
                (None, _) => self.wrong.push(format!("{place}: is not in the schema")),
            }
        }
    }

    fn array(&mut self, schema: &'s Value, items: &[Value], at: &str) {
        let count = items.len() as u64;
        let is_short = schema["minItems"].as_u64().is_some_and(|least| count < least);
        if is_short || schema["maxItems"].as_u64().is_some_and(|most| count > most) {
            self.wrong.push(format!("{at}: has {count} items"));
        }
        for (place, item) in items.iter().enumerate() {
            self.value(&schema["items"], item, &format!("{at}[{place}]"));
        }
    }

    fn found(&mut self, at: &str, value: &Value, expected: &str) {
        self.wrong.push(format!("{at}: expected {expected}, found {value}"));
    }
}

fn has_type(expected: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        other => panic!("{other} is no type of JSON Schema"),
    };
    match expected {
        Value::Null => true,
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        other => panic!("{other} is no type of JSON Schema"),
    }
}

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn wrong(name: &str, value: &Value) -> Vec<String> {
    let root = schema(name);
    let mut check = Check { root: &root, wrong: Vec::new() };
    check.value(&root, value, name);
    check.wrong
}

#[track_caller]
fn assert_fits(name: &str, values: &[Value]) {
    assert!(!values.is_empty(), "{name}: there is something to look at");
    for value in values {
        assert_eq!(wrong(name, value), [""; 0]);
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn file(sandbox: &Sandbox, path: &str) -> String {
    std::fs::read_to_string(sandbox.path(path)).unwrap()
}

#[test]
fn lines_of_localize_fit_their_schema() {
    let sandbox = Sandbox::new();
    sandbox.write("birds.txt", "[bird]\nrusty blackbird\nreed warbler\n[]\nstone\n");
    sandbox.copy_photo("shapes-96x64.png", "photos/a.png");
    sandbox.write("photos/notes.md", "no photo");
    let all = "overlay,layer,heatmap,map,full,mask,instances,csv";
    for options in [
        &["wide.png", "--save", all, "--against", "reed", "--strength", "0,0.5"][..],
        &["photos", "--tiles", "2", "--refine", "guided,affinity", "--artifacts", "suppress"],
        &["wide.png", "--concepts", "birds.txt", "--by", "image", "--template", "a {}."],
        &["wide.png", "--layers", "-2..-1:product", "--aggregate", "softmax", "--against", "reed"],
        &["wide.png", "--model", "miniature", "--scale", "run"],
    ] {
        let model = if options.contains(&"--model") { &[][..] } else { &["--model", "model"] };
        let outcome = sandbox
            .run(&[&["localize", "--prompt", "red square", "--json", "--offline"], model, options].concat());
        outcome.assert_done();
        assert_fits("localize", &outcome.json());
    }
}

#[test]
fn lines_and_files_of_compare_and_batch_fit_their_schemas() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", "red square\nblue circle\ngreen stripe\n");
    let compare = ["compare", "wide.png", "red square", "--model", "model", "--json", "--matrix"];
    let outcome = sandbox.run(&[&compare[..], &["--concepts", "prompts.txt", "--top", "2"]].concat());
    outcome.assert_done();
    assert_fits("compare", &outcome.json());
    sandbox.write("broken.png", "no photo");
    let photos = ["batch", "prompts.txt", "wide.png", "broken.png", "--model", "model", "--output", "out"];
    let outcome = sandbox.run(&[&photos[..], &["--scale", "run", "--json"]].concat());
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    assert_fits("compare", &outcome.json());
    assert_fits("batch-line", &lines(&file(&sandbox, "out/results.jsonl")));
    let run: Value = serde_json::from_str(&file(&sandbox, "out/run.json")).unwrap();
    assert_eq!(run["failed"].as_array().map(Vec::len), Some(1));
    assert_fits("batch-run", &[run]);
}

#[test]
fn rows_and_files_of_evaluate_fit_their_schemas() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.png", "no photo");
    sandbox.write(
        "questions.jsonl",
        concat!(
            "{\"image\": \"wide.png\", \"prompt\": \"red square\", \"against\": [\"reed\"], \"box\": [1, 1, 30, 30]}\n",
            "{\"image\": \"tall.png\", \"prompt\": \"reed\", \"present\": false}\n",
            "{\"image\": \"broken.png\", \"prompt\": \"reed\", \"point\": [1, 1]}\n",
        ),
    );
    let metrics = ["--metrics", "localisation,deletion_auc", "--faithfulness", "finer-cam"];
    let run = [
        "evaluate",
        "questions.jsonl",
        "--model",
        "model",
        "--json",
        "--output",
        "out",
        "--rows",
        "rows.jsonl",
    ];
    let outcome = sandbox.run(&[&run[..], &metrics].concat());
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    assert_fits("evaluate", &outcome.json());
    assert_fits("evaluate-row", &lines(&file(&sandbox, "rows.jsonl")));
    assert_fits("evaluate-failure", &lines(&file(&sandbox, "out/failures.jsonl")));
    assert_fits("evaluate-run", &[serde_json::from_str(&file(&sandbox, "out/run.json")).unwrap()]);
}

#[test]
fn what_does_not_fit_is_found() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.run(&["localize", "red square", "wide.png", "--model", "model", "--json"]);
    outcome.assert_done();
    let line = outcome.json().remove(0);
    for (pointer, value, found) in [
        ("/fit", Value::from("Whole"), "localize.fit: expected enum"),
        ("/grid", serde_json::json!([1]), "localize.grid: has 1 items"),
        ("/strength", "0.6".into(), "localize.strength: expected"),
        ("/evidence/verdict", Value::Null, "localize.evidence.verdict: expected"),
    ] {
        let mut other = line.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(wrong("localize", &other)[0].starts_with(found), "{:?}", wrong("localize", &other));
    }
    let mut other = line;
    other["unheard"] = 1.into();
    other.as_object_mut().unwrap().remove("seconds");
    let expected = ["localize: lacks seconds", "localize.unheard: is not in the schema"];
    assert_eq!(wrong("localize", &other), expected);
}
