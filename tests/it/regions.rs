//! From map to answer, as the program gives it: thresholds, outlines, points, COCO files and the marks of refined maps.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::sandbox::{PROMPT, Sandbox};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// The white pixels of a mask.
fn white(sandbox: &Sandbox, found: &Value) -> BTreeSet<(u32, u32)> {
    let picture = image::open(sandbox.path(found["files"]["mask"].as_str().unwrap())).unwrap().into_luma8();
    picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 == [255]).map(|(x, y, _)| (x, y)).collect()
}

#[test]
fn regions_have_outlines_areas_and_peaks_and_points_follow_them() {
    let sandbox = Sandbox::new();
    let found = sandbox.found(PROMPT, &["wide.png", "--save", "mask"]);
    assert_eq!(found["threshold"], "peak:0.5");
    let mask = white(&sandbox, &found);
    let mut area = 0;
    for region in list(&found["regions"]) {
        area += number(&region["area"]);
        let (x, y) = (number(&region["peak"]["x"]) as u32, number(&region["peak"]["y"]) as u32);
        assert!(mask.contains(&(x, y)), "{region}");
        for corner in list(&region["polygon"]) {
            let (x, y) = (number(&corner[0]), number(&corner[1]));
            let (left, top) = (number(&region["x"]), number(&region["y"]));
            assert!((left..=left + number(&region["width"])).contains(&x), "{region}");
            assert!((top..=top + number(&region["height"])).contains(&y), "{region}");
        }
    }
    assert!(area > 0 && area <= mask.len() as u64);
    let points = list(&found["points"]);
    assert_eq!((&points[0]["x"], &points[0]["y"]), (&found["peak"]["x"], &found["peak"]["y"]));
    for point in points {
        let evidence = point["evidence"].as_f64().unwrap();
        assert_eq!(number(&point["label"]) == 1, evidence > 0.0, "{point}");
    }
}

#[test]
fn thresholds_change_masks_and_regions_together() {
    let sandbox = Sandbox::new();
    let pixels = |threshold: &str| {
        let found = sandbox.found(PROMPT, &["wide.png", "--save", "mask,overlay", "--threshold", threshold]);
        assert_eq!(found["threshold"], threshold);
        white(&sandbox, &found).len()
    };
    let [all, half, peak] = ["peak:0", "peak:0.5", "peak:1"].map(pixels);
    assert!(all > half && half > peak && peak > 0, "{all} {half} {peak}");
    let [most, some, otsu] = ["share:1", "share:0.3", "otsu"].map(pixels);
    assert!(most == all && some < all && otsu < all, "{most} {some} {otsu}");
    for wrong in ["peak:2", "half", ""] {
        let outcome = sandbox.localize(PROMPT, &["wide.png", "--threshold", wrong]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{outcome:#?}");
    }
}

#[test]
fn a_coco_file_has_the_regions_of_the_whole_run() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.png", "no image");
    let images = ["wide.png", "broken.png", "tall.png", "--json", "--coco", "made/all.json"];
    let outcome = sandbox.localize(PROMPT, &images);
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    let lines = outcome.json();
    let coco: Value = serde_json::from_slice(&std::fs::read(sandbox.path("made/all.json")).unwrap()).unwrap();
    let names: Vec<&str> =
        list(&coco["images"]).iter().map(|image| image["file_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["wide.png", "tall.png"]);
    assert_eq!(coco["categories"][0]["name"], PROMPT);
    let annotations = list(&coco["annotations"]);
    let regions: Vec<&Value> = lines.iter().flat_map(|line| list(&line["regions"])).collect();
    assert!(!regions.is_empty() && annotations.len() == regions.len());
    for (annotation, region) in annotations.iter().zip(regions) {
        let box_of = ["x", "y", "width", "height"].map(|side| region[side].clone());
        assert_eq!(list(&annotation["bbox"]), box_of);
        assert_eq!((&annotation["area"], &annotation["score"]), (&region["area"], &region["share"]));
        let image = &lines[number(&annotation["image_id"]) as usize - 1];
        assert!(list(&image["regions"]).contains(region));
    }
    assert!(!sandbox.names("made").iter().any(|name| name.ends_with(".part")));
}

#[test]
fn compare_writes_all_prompts_into_one_coco_file() {
    let sandbox = Sandbox::new();
    let arguments =
        ["compare", "wide.png", "red square", "blue circle", "--model", "model", "--coco", "all.json"];
    sandbox.run(&[&arguments[..], &["--refine", "guided"]].concat()).assert_done();
    let coco: Value = serde_json::from_slice(&std::fs::read(sandbox.path("all.json")).unwrap()).unwrap();
    let names: Vec<&Value> = list(&coco["categories"]).iter().map(|category| &category["name"]).collect();
    assert_eq!(names, ["red square", "blue circle"]);
    assert_eq!(list(&coco["images"]).len(), 1);
}

#[test]
fn a_place_for_the_coco_file_that_cannot_be_written_fails_before_the_work() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    let outcome = sandbox.localize(PROMPT, &["wide.png", "--coco", "file/all.json"]);
    outcome.assert_refused(&["file", "cannot be written"]);
}

#[test]
fn refined_and_tiled_maps_say_so() {
    let sandbox = Sandbox::new();
    let plain = sandbox.found(PROMPT, &["wide.png"]);
    for field in ["refined", "tiles", "best_tile", "artifacts"] {
        assert!(plain.get(field).is_none(), "{field}");
    }
    let options = ["wide.png", "--refine", "guided,affinity", "--tiles", "2", "--artifacts", "suppress"];
    let found = sandbox.found(PROMPT, &[&options[..], &["--save", "map,full,overlay"]].concat());
    assert_eq!(found["refined"], Value::from(vec!["affinity", "guided"]));
    assert_eq!((&found["tiles"]["rows"], &found["tiles"]["columns"]), (&2.into(), &3.into()));
    assert_eq!((&found["tiles"]["side"], &found["artifacts"]["handling"]), (&37.into(), &"suppress".into()));
    assert_eq!(found["artifacts"]["count"], 0);
    let best = &found["best_tile"];
    assert!(number(&best["x"]) <= 96 - 37 && number(&best["y"]) <= 64 - 37, "{best}");
    assert!(["present", "weak", "absent"].contains(&best["verdict"].as_str().unwrap()));
    // Eight cells a tile of 37 pixels.
    assert_eq!(found["grid"], Value::from(vec![14, 21]));
    let [rows, columns] = ["map", "full"]
        .map(|kind| crate::sandbox::read_npy(&sandbox.path(found["files"][kind].as_str().unwrap())));
    assert_eq!(((rows.0, rows.1), (columns.0, columns.1)), ((14, 21), (64, 96)));
}

#[test]
fn what_cannot_be_refined_or_tiled_is_refused() {
    let sandbox = Sandbox::new();
    for (option, value, part) in [
        ("--refine", "crf", "affinity, guided"),
        ("--tiles", "0", "above 0"),
        ("--tiles", "some", "auto or off"),
        ("--artifacts", "drop", "keep, suppress"),
    ] {
        let outcome = sandbox.localize(PROMPT, &["wide.png", option, value]);
        assert_eq!(outcome.status, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(part), "{outcome:#?}");
    }
    sandbox.localize(PROMPT, &["wide.png", "--tiles", "9"]).assert_refused(&[
        "tiles",
        "16 pixels",
        "96 x 64",
    ]);
}
