//! Holds the README to the program: its options, the fields of its JSON, the kinds of its files.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("the README is there")
}

/// The standard output of the program.
fn output(arguments: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fieldmark"));
    let run = program.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().expect("it starts");
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("it is text")
}

/// The long options at the start of the lines of a help text.
fn options(command: &str) -> BTreeSet<String> {
    let help = output(&[command, "--help"]);
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = lines.filter_map(|line| line.split([' ', ',']).find(|word| word.starts_with("--")));
    names.filter(|name| !["--help", "--version"].contains(name)).map(str::to_owned).collect()
}

#[test]
fn every_option_is_in_the_readme_and_no_other() {
    let commands = [
        "localize",
        "compare",
        "report",
        "batch",
        "methods",
        "prompts",
        "evaluate",
        "download",
        "models",
        "completions",
        "man",
    ];
    let known: BTreeSet<String> = commands.into_iter().flat_map(options).collect();
    assert!(known.len() > 10, "the help was understood: {known:?}");
    let readme = readme();
    for option in &known {
        assert!(readme.contains(option.as_str()), "{option} is missing in README.md");
    }
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `-"));
    for cell in rows.filter_map(|row| row.split('`').next()) {
        let option = format!("-{cell}");
        let option = option.split([' ', ',']).find(|word| word.starts_with("--")).expect("a long option");
        assert!(known.contains(option), "{option} is in README.md, but no option");
    }
}

#[test]
fn every_field_of_the_json_is_in_the_readme() {
    let readme = readme();
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
        assert!(readme.contains(&format!("`{name}`")), "{name} is missing in README.md");
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
