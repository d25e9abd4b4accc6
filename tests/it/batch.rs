//! `fieldmark batch`: many photos, one run that can be interrupted, resumed and made again.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use serde_json::Value;

use crate::{
    browser::Browser,
    sandbox::{Outcome, Sandbox, files, wait},
};

const LIST: &str = "# what to look for\nred square\nblue circle\n\ngreen stripe # a comment\n";
const PROMPTS: usize = 3;

/// A folder `photos` with some photos, and the list `prompts.txt`.
fn sandbox(photos: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", LIST);
    for number in 0..photos {
        let fixture = ["shapes-96x64.png", "shapes-50x83.png"][number % 2];
        sandbox.copy_photo(fixture, format!("photos/{number:02}.png"));
    }
    sandbox
}

fn batch(sandbox: &Sandbox, folder: &str, more: &[&str]) -> Outcome {
    let arguments = ["batch", "prompts.txt", "photos", "--model", "model", "--output", folder];
    sandbox.run(&[&arguments[..], more].concat())
}

/// Every file of a run and what is in it, without the times.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(folder);
    if let Some(lines) = files.get_mut("results.jsonl") {
        *lines = without_times(std::str::from_utf8(lines).unwrap()).into_bytes();
    }
    files
}

fn without_times(lines: &str) -> String {
    let mut text = String::new();
    for line in lines.lines() {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        assert!(entry["result"]["seconds"].take().is_object());
        text.push_str(&format!("{entry}\n"));
    }
    text
}

fn assert_same_run(one: &Path, other: &Path) {
    let (one, other) = (contents(one), contents(other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in one {
        assert!(other[&name] == bytes, "{name} differs");
    }
}

fn results(sandbox: &Sandbox, folder: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.path(folder).join("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(sandbox: &Sandbox, folder: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path(folder).join("run.json")).unwrap()).unwrap()
}

#[test]
fn a_run_writes_results_pages_and_a_manifest() {
    let sandbox = sandbox(2);
    let outcome = batch(&sandbox, "out", &["--strength", "0.6"]);
    outcome.assert_done();
    assert!(outcome.stdout.contains("2 photos") && outcome.stdout.contains("out/index.html"), "{outcome:#?}");
    let lines = results(&sandbox, "out");
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let prompts = line["result"]["prompts"].as_array().unwrap();
        assert_eq!(prompts.len(), PROMPTS);
        for prompt in prompts {
            for kind in ["overlay", "thumbnail"] {
                let file = prompt["files"][kind].as_str().unwrap();
                assert!(sandbox.path("out").join(file).is_file(), "{file}");
            }
        }
        assert!(sandbox.path("out").join(line["result"]["files"]["report"].as_str().unwrap()).is_file());
    }
    let manifest = manifest(&sandbox, "out");
    assert_eq!(manifest["recipe"]["strength"], 0.6);
    assert_eq!(manifest["recipe"]["prompts"][2], "green stripe");
    assert_eq!(manifest["recipe"]["method"], "grad-cam", "what the checkpoint means is written down");
    assert_eq!(manifest["model_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(manifest["inputs"][0]["image"], "photos/00.png");
    for file in manifest["outputs"].as_array().unwrap() {
        assert!(sandbox.path("out").join(file.as_str().unwrap()).is_file(), "{file}");
    }
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_end() {
    let sandbox = sandbox(12);
    batch(&sandbox, "whole", &[]).assert_done();
    let arguments = ["batch", "prompts.txt", "photos", "--model", "model", "--output", "out"];
    let mut command = sandbox.command();
    let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = sandbox.path("out/results.jsonl");
    let lines = || std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
    while lines() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: the program has no chance to clean up.
    child.kill().unwrap();
    wait(&mut child);
    let done = lines();
    assert!((3..12).contains(&done), "it was killed in the middle, after {done} photos");
    assert!(!sandbox.path("out/index.html").exists());
    let kept = std::fs::read_to_string(&journal).unwrap();
    batch(&sandbox, "out", &["--resume"]).assert_done();
    assert_same_run(&sandbox.path("out"), &sandbox.path("whole"));
    let after = std::fs::read_to_string(&journal).unwrap();
    assert!(after.starts_with(&kept), "finished work is kept, with its recorded times");
}

#[test]
fn a_torn_line_a_lost_file_and_a_changed_photo_are_done_again() {
    let sandbox = sandbox(3);
    batch(&sandbox, "out", &[]).assert_done();
    batch(&sandbox, "whole", &[]).assert_done();
    let before = results(&sandbox, "out");
    let journal = sandbox.path("out/results.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() - 40]).unwrap();
    std::fs::remove_file(sandbox.path("out/01.blue-circle.overlay.png")).unwrap();
    std::fs::write(sandbox.path("out/.fieldmark-abc.part"), "half").unwrap();
    batch(&sandbox, "out", &["--resume"]).assert_done();
    assert_same_run(&sandbox.path("out"), &sandbox.path("whole"));
    let after = results(&sandbox, "out");
    assert_eq!(after[0], before[0], "the first was left alone");
    assert_ne!(after[1]["result"]["seconds"], before[1]["result"]["seconds"]);
    sandbox.copy_photo("shapes-50x83.png", "photos/00.png");
    batch(&sandbox, "out", &["--resume"]).assert_done();
    assert_eq!(results(&sandbox, "out")[0]["result"]["image_size"], Value::from(vec![50, 83]));
}

#[test]
fn a_photo_that_takes_anothers_names_leaves_no_wrong_results() {
    let sandbox = sandbox(1);
    sandbox.copy_photo("shapes-50x83.png", "photos/00.webp.png");
    batch(&sandbox, "out", &[]).assert_done();
    // It comes before 00.png, has its stem, and so gets the names that 00.png had.
    std::fs::copy(sandbox.path("photos/00.webp.png"), sandbox.path("photos/00.bmp")).unwrap();
    batch(&sandbox, "out", &["--resume"]).assert_done();
    batch(&sandbox, "whole", &[]).assert_done();
    assert_same_run(&sandbox.path("out"), &sandbox.path("whole"));
}

#[test]
fn a_run_with_other_settings_is_not_resumed() {
    let sandbox = sandbox(1);
    batch(&sandbox, "out", &[]).assert_done();
    let before = contents(&sandbox.path("out"));
    batch(&sandbox, "out", &["--resume", "--strength", "0.5"])
        .assert_refused(&["run.json", "strength", "0.5", "0.0"]);
    assert!(contents(&sandbox.path("out")) == before, "nothing was touched");
    sandbox.change_json("config.json", "/vision_config/layer_norm_eps", 1e-4);
    batch(&sandbox, "out", &["--resume"]).assert_refused(&["run.json", "model_sha256"]);
}

#[test]
fn a_run_is_made_again_from_its_manifest() {
    let sandbox = sandbox(2);
    batch(&sandbox, "out", &["--strength", "0.3", "--method", "hires-cam", "--save", "map"]).assert_done();
    let outcome = sandbox.run(&["batch", "--from", "out/run.json", "--output", "again"]);
    outcome.assert_done();
    assert_eq!(outcome.notes(), [""; 0]);
    assert_same_run(&sandbox.path("out"), &sandbox.path("again"));
    let outcome = batch(&sandbox, "again", &["--strength", "0.3", "--method", "hires-cam", "--save", "map"]);
    assert!(outcome.notes()[0].contains("--resume"), "the note names what is replaced: {outcome:#?}");
    sandbox.copy_photo("shapes-50x83.png", "photos/00.png");
    let outcome = sandbox.run(&["batch", "--from", "out/run.json", "--output", "again"]);
    assert!(
        outcome.stderr.contains("note: photos/00.png: the photo is not the one of the run"),
        "{outcome:#?}"
    );
    let outcome = sandbox.run(&["batch", "--from", "out/run.json", "--strength", "1"]);
    assert_eq!(outcome.status, Some(2), "{outcome:#?}");
}

#[test]
fn a_bad_photo_does_not_stop_the_others() {
    let sandbox = sandbox(2);
    sandbox.write("photos/01-broken.png", "no picture");
    let outcome = batch(&sandbox, "out", &["--json"]);
    assert_eq!(outcome.status, Some(1));
    assert_eq!((outcome.json().len(), outcome.errors().len()), (2, 1), "{outcome:#?}");
    assert_eq!(manifest(&sandbox, "out")["failed"][0]["image"], "photos/01-broken.png");
    // Once it can be read, only it is left to do.
    sandbox.copy_photo("shapes-50x83.png", "photos/01-broken.png");
    let outcome = batch(&sandbox, "out", &["--json", "--resume"]);
    outcome.assert_done();
    assert_eq!(outcome.json().len(), 1);
    assert_eq!(results(&sandbox, "out").len(), 3);
}

#[test]
fn unusable_prompts_are_reported_before_any_photo() {
    let sandbox = sandbox(1);
    sandbox.write("prompts.txt", "# nothing\n");
    batch(&sandbox, "out", &[]).assert_refused(&["prompts.txt"]);
    batch(&sandbox, "out", &["--from", "run.json"]).assert_refused(&["--from"]);
}

#[test]
fn the_page_of_all_results_sorts_filters_and_runs_nothing_foreign() {
    let Some(mut browser) = Browser::start() else { return };
    let sandbox = sandbox(3);
    let hostile = "</script><img src=x onerror=\"document.title='broken'\">";
    batch(&sandbox, "out", &["--save", "none"]).assert_done();
    // A list gives some signs a meaning, a manifest none.
    let mut manifest = manifest(&sandbox, "out");
    manifest["recipe"]["prompts"] = Value::from(vec!["red square", hostile]);
    sandbox.write("run.json", manifest.to_string());
    assert_eq!(sandbox.run(&["batch", "--from", "run.json", "--output", "out"]).status, Some(0));
    browser.open(&sandbox.path("out/index.html"), "");
    let tiles = "document.querySelectorAll('#results li').length";
    assert_eq!(browser.run(tiles), 6);
    let names = "[...document.querySelectorAll('#results h2')].map((name) => name.textContent)";
    assert_eq!(browser.run(names)[1], hostile);
    assert_ne!(browser.run("document.title"), "broken");
    let set = |id: &str, value: &str| {
        format!(
            "(() => {{ const field = document.getElementById('{id}'); field.value = '{value}'; \
             field.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
        )
    };
    browser.run(&set("prompt", "red square"));
    browser.run(&set("order", "similarity"));
    let order = browser.run("chosenTiles().map((tile) => tile.similarity)");
    let order: Vec<f64> = order.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(order.len() == 3 && order.is_sorted_by(|one, next| one >= next), "{order:?}");
    browser.run(&set("words", "02.png"));
    assert_eq!(browser.run(tiles), 1);
    let loaded = "(async () => { const picture = document.querySelector('#results img'); picture.loading = 'eager'; \
                  await picture.decode(); return picture.naturalWidth; })()";
    assert_eq!(browser.run(loaded), 96, "the thumbnail is found");
    let folder = format!("file://{}/", sandbox.path("out").display());
    let foreign: Vec<&String> = browser
        .requests
        .iter()
        .filter(|url| !url.starts_with(&folder) && !url.starts_with("data:") && *url != "about:blank")
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert_eq!(browser.complaints, [""; 0]);
}
