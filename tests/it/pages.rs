//! Holds the README and the book to the program: the options that it names, and the fields of its JSON.

use std::{path::Path, process::Command};

use serde_json::Value;

/// The README and those pages of the book that name options or fields.
fn documents() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(root.join("README.md")).expect("the README exists");
    for folder in ["guide", "reference", "explanation", "cookbook"] {
        for entry in std::fs::read_dir(root.join("docs/book/src").join(folder)).expect("the book exists") {
            text += &std::fs::read_to_string(entry.expect("an entry").path()).expect("a page");
        }
    }
    text
}

/// The standard output of the program.
fn output(arguments: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
    let run = program.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().expect("it starts");
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("it is text")
}

/// The names that begin with `--` in a text.
fn options(text: &str) -> Vec<&str> {
    let names = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
    names.filter(|name| name.len() > 3 && name.starts_with("--") && !name.starts_with("---")).collect()
}

#[test]
fn every_option_that_the_documents_name_exists() {
    /// Those of other programs.
    const OTHERS: [&str; 11] = [
        "--release",
        "--path",
        "--features",
        "--example",
        "--install",
        "--open",
        "--test",
        "--ignored",
        "--skip",
        "--count",
        "--out",
    ];
    let reference = output(&["man", "--markdown"]);
    let known = options(&reference);
    let documents = documents();
    let named = options(&documents);
    assert!(named.len() > 50, "{named:?}");
    for name in named.into_iter().filter(|name| !OTHERS.contains(name)) {
        assert!(known.contains(&name), "{name} is documented, but no option");
    }
}

#[test]
fn every_field_of_the_json_is_documented() {
    let documents = documents();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let line = output(&[
        "localize",
        "red square",
        "tests/fixtures/photos/shapes-96x64.png",
        "--against",
        "blue circle",
        "--model",
        "tests/fixtures/models/tiny-quick-gelu",
        "--save",
        "overlay,layer,heatmap,map,full,mask,instances,csv",
        "--output",
        &folder.path().to_string_lossy(),
        "--no-text-cache",
        "--json",
    ]);
    let record: Value = serde_json::from_str(&line).expect("one JSON object");
    let mut names = Vec::new();
    collect_names(&record, &mut names);
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(documents.contains(&format!("`{name}`")), "{name} is missing in docs/book");
    }
}

fn collect_names(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            names.push(name.clone());
            collect_names(value, names);
        }),
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}
