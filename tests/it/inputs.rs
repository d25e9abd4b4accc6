//! Which files are photos, and what happens to names and photos that are unusual.

use serde_json::json;

use crate::sandbox::{PROMPT, Sandbox};

/// A folder `photos` with two photos, and with files that are none.
fn mixed_folder() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.copy_photo("shapes-96x64.png", "photos/a.png");
    sandbox.copy_photo("baseline_420.jpg", "photos/b.JFIF");
    sandbox.copy_photo("baseline_420.jpg", "photos/._b.JFIF");
    for name in ["notes.txt", "b.xmp", "c.dng", "d.HEIC", ".hidden.jpg"] {
        sandbox.write(format!("photos/{name}"), "x");
    }
    sandbox.write("photos/inside/e.jpg", "x");
    sandbox
}

const NOTE: &str =
    "note: skipped 2 hidden files, 1 folder, 1 camera raw, 1 picture of an unsupported format, 2 other files";

#[test]
fn a_folder_is_its_photos_and_one_note_counts_the_rest() {
    let sandbox = mixed_folder();
    let outcome = sandbox.localize(PROMPT, &["photos", "--json"]);
    outcome.assert_done();
    assert_eq!(outcome.notes(), [NOTE]);
    let lines = outcome.json();
    let images: Vec<_> = lines.iter().map(|line| line["image"].as_str().unwrap()).collect();
    assert_eq!(images, ["photos/a.png", "photos/b.JFIF"]);
    let skipped = json!({"hidden": 2, "folders": 1, "camera_raws": 1, "unsupported": 1, "other": 2});
    assert!(lines.iter().all(|line| line["skipped"] == skipped), "{lines:?}");
    let outcome = sandbox.localize(PROMPT, &["photos/a.png", "--json"]);
    assert_eq!((outcome.notes().len(), &outcome.json()[0]["skipped"]), (0, &json!(null)));
}

#[test]
fn a_batch_counts_what_it_skips_in_its_manifest() {
    let sandbox = mixed_folder();
    let outcome = sandbox.run(&["batch", "prompts.txt", "photos", "--model", "model"]);
    outcome.assert_refused(&["prompts.txt"]);
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    let outcome = sandbox.run(&["batch", "prompts.txt", "photos", "--model", "model", "--output", "out"]);
    outcome.assert_done();
    assert_eq!(outcome.notes(), [NOTE]);
    let manifest = std::fs::read(sandbox.path("out/run.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["skipped"]["hidden"], 2);
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), 2);
}

#[test]
fn results_beside_the_photos_are_never_taken_for_photos() {
    let sandbox = Sandbox::new();
    sandbox.copy_photo("shapes-96x64.png", "photos/a.png");
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    let kinds = "overlay,heatmap,mask,instances,sheet,report";
    for _ in 0..2 {
        let command =
            ["batch", "prompts.txt", "photos", "--model", "model", "--output", "photos", "--save", kinds];
        sandbox.run(&command).assert_done();
    }
    sandbox.found(PROMPT, &["photos/a.png", "--output", "photos", "--save", "overlay,mask,instances"]);
    let outcome = sandbox.localize(PROMPT, &["photos", "--output", "photos", "--strength", "0,1"]);
    outcome.assert_done();
    // Nine of the batch, three of localize; the pages and the journal are no pictures.
    assert!(outcome.notes()[0].contains(", 12 results of fieldmark, "), "{outcome:#?}");
    let outcome = sandbox.localize(PROMPT, &["photos/thumbnails"]);
    outcome.assert_refused(&["photos/thumbnails: no image is in this directory"]);
    assert!(outcome.notes()[0].ends_with("skipped 2 results of fieldmark"), "{outcome:#?}");
    // A result that is named itself is a photo like any other.
    sandbox.found(PROMPT, &["photos/a.red-square.overlay.png"]);
}

#[test]
fn an_evaluation_of_folders_takes_the_same_files() {
    let sandbox = mixed_folder();
    std::fs::create_dir(sandbox.path("set")).unwrap();
    std::fs::rename(sandbox.path("photos"), sandbox.path("set/bird")).unwrap();
    let outcome = sandbox.run(&[
        "evaluate",
        "set",
        "--model",
        "model",
        "--metrics",
        "sanity",
        "--json",
        "--limit",
        "2",
    ]);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    assert!(outcome.notes().contains(&NOTE), "{outcome:#?}");
    let summary = &outcome.json()[0];
    assert_eq!((&summary["images"], &summary["skipped"]["camera_raws"]), (&json!(2), &json!(1)));
}
