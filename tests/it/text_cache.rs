//! Embeddings of texts that one run keeps for the next: what the user of the program sees of it.

use std::path::PathBuf;

use serde_json::Value;

use crate::sandbox::{PROMPT, Sandbox};

/// The files in the cache of a run without any variable that says otherwise.
fn kept(sandbox: &Sandbox) -> Vec<PathBuf> {
    kept_in(sandbox, "home/.cache/fieldmark/texts")
}

fn kept_in(sandbox: &Sandbox, folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sandbox.path(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().unwrap() == "texts").collect()
}

/// What a run found, without the time that it took.
fn scores(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let mut found =
        sandbox.found(PROMPT, &[&["wide.png", "--against", "rusty blackbird"], arguments].concat());
    found.as_object_mut().unwrap().remove("seconds");
    found
}

#[test]
fn every_run_finds_the_same_whether_texts_are_kept_or_not() {
    let sandbox = Sandbox::new();
    let without = scores(&sandbox, &["--no-text-cache"]);
    assert!(!sandbox.path("home").exists(), "nothing is written");
    assert_eq!(scores(&sandbox, &[]), without);
    let files = kept(&sandbox);
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let size = file.metadata().unwrap().len();
    assert_eq!(scores(&sandbox, &[]), without);
    assert_eq!(file.metadata().unwrap().len(), size, "nothing new");
    // Target, rival and the neutral prompt: a header of 36 bytes, and 24 numbers a text between two hashes.
    assert_eq!(size, 36 + 3 * (32 + 24 * 4 + 32));
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    assert!(!text.contains("blackbird"), "prompts are not to be read");
}

#[test]
fn a_damaged_file_changes_nothing_and_is_mended() {
    let sandbox = Sandbox::new();
    let first = scores(&sandbox, &[]);
    let file = kept(&sandbox).remove(0);
    let whole = std::fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"something else", &[0xff; 4096]] {
        std::fs::write(&file, damaged).unwrap();
        // Texts that share a pass of the tower with others have other last digits.
        let similarity = |found: &Value| found["similarity"].as_f64().unwrap();
        assert!((similarity(&scores(&sandbox, &[])) - similarity(&first)).abs() < 1e-6);
        let again = std::fs::read(&file).unwrap();
        assert_eq!(again.len(), whole.len(), "all three texts are there again");
    }
}

#[test]
fn a_checkpoint_that_changed_is_not_taken_for_the_old_one() {
    let sandbox = Sandbox::new();
    let before = scores(&sandbox, &[]);
    let path = sandbox.path("model/model.safetensors");
    let mut weights = crate::sandbox::Weights::read(&path);
    weights.set_first("text_model.final_layer_norm.bias", 3.0);
    weights.write(&path);
    let after = scores(&sandbox, &[]);
    assert_ne!(after["similarity"], before["similarity"]);
    assert_eq!(after, scores(&sandbox, &["--no-text-cache"]));
    // The configuration counts as well as the weights.
    sandbox.change_json("config.json", "/text_config/layer_norm_eps", 0.1);
    assert_eq!(scores(&sandbox, &[]), scores(&sandbox, &["--no-text-cache"]));
}

#[test]
fn the_place_follows_the_environment() {
    let sandbox = Sandbox::new();
    let arguments = ["localize", PROMPT, "wide.png", "--model", "model"];
    let run = |variables: &[(&str, PathBuf)]| {
        sandbox.finish(sandbox.command().args(arguments).envs(variables.iter().cloned())).assert_done();
    };
    run(&[("XDG_CACHE_HOME", sandbox.path("xdg"))]);
    assert_eq!(kept_in(&sandbox, "xdg/fieldmark/texts").len(), 1);
    run(&[("XDG_CACHE_HOME", sandbox.path("xdg")), ("FIELDMARK_CACHE", sandbox.path("own"))]);
    assert_eq!(kept_in(&sandbox, "own/texts").len(), 1);
    assert!(kept(&sandbox).is_empty());
}

#[test]
fn a_place_that_cannot_be_written_is_a_note() {
    let sandbox = Sandbox::new();
    sandbox.write("own", "a file where a folder should be");
    let arguments = ["localize", PROMPT, "wide.png", "--model", "model"];
    let outcome =
        sandbox.finish(sandbox.command().args(arguments).env("FIELDMARK_CACHE", sandbox.path("own")));
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    let notes = outcome.notes();
    assert_eq!(notes.len(), 1, "{outcome:#?}");
    assert!(notes[0].contains("embeddings of texts are not kept") && notes[0].contains("own"), "{notes:?}");
}
