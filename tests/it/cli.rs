//! The program as its users meet it: what is typed, and what comes back on standard output and standard error, as
//! files and as exit status.

use std::path::Path;
use std::process::Stdio;

use fieldmark::attribution::METHODS;
use serde_json::Value;

use crate::fake_hub::{COMMIT, REPO, Repository, Server};
use crate::sandbox::{Outcome, PROMPT, Sandbox, read_npy, wait};

const SLUG: &str = "red-winged-blackbird-shoulder";
const RIVALS: [&str; 4] = ["--against", "yellow-headed blackbird", "--against", "rusty blackbird"];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn prompts(scores: &Value) -> Vec<&str> {
    scores.as_array().unwrap().iter().map(|score| score["prompt"].as_str().unwrap()).collect()
}

/// The signed map that `--save map` wrote.
fn map_of(sandbox: &Sandbox, found: &Value) -> Vec<f32> {
    read_npy(&sandbox.path(found["files"]["map"].as_str().unwrap())).2
}

fn size_of(sandbox: &Sandbox, file: &Value) -> (u32, u32) {
    image::open(sandbox.path(file.as_str().unwrap())).unwrap().into_rgb8().dimensions()
}

fn assert_close(one: f64, other: f64) {
    assert!((one - other).abs() <= 1e-5 * one.abs().max(1.0), "{one} and {other}");
}

// Localize: what is printed.

#[test]
fn a_json_line_has_every_field_of_the_contract() {
    let sandbox = Sandbox::new();
    let found = sandbox.found(PROMPT, &[&["wide.png"], &RIVALS[..]].concat());
    let expected = [
        ("image", "wide.png".into()),
        ("image_size", Value::from(vec![96, 64])),
        ("model", "model".into()),
        ("prompt", PROMPT.into()),
        ("method", "grad-cam".into()),
        ("layer", (-1).into()),
        ("strength", 0.6.into()),
        ("aggregate", "mean".into()),
        ("fit", "whole".into()),
        ("covers", Value::from(vec![0.0, 0.0, 96.0, 64.0])),
    ];
    for (field, value) in expected {
        assert_eq!(found[field], value, "{field}");
    }
    let grid = numbers(&found["grid"]);
    assert!(grid[0] < grid[1] && grid[0] * grid[1] <= 64.0, "{grid:?}");
    assert_eq!(prompts(&found["against"]), ["yellow-headed blackbird", "rusty blackbird"]);
    assert_eq!(
        texts(&Value::from(vec![found["files"]["overlay"].clone()])),
        [format!("fieldmark-out/wide.{SLUG}.overlay.png")]
    );
    for stage in ["load", "decode", "text", "trunk", "head", "render"] {
        assert!(number(&found["seconds"][stage]) > 0.0, "{stage}");
    }
}

#[test]
fn the_numbers_of_a_json_line_agree_with_each_other() {
    let sandbox = Sandbox::new();
    let found = sandbox.found(PROMPT, &[&["wide.png"], &RIVALS[..]].concat());
    let scores: Vec<&Value> = std::iter::once(&found).chain(found["against"].as_array().unwrap()).collect();
    let total: f64 = scores.iter().map(|score| number(&score["probability"])).sum();
    assert_close(total, 1.0);
    let scale = number(&found["logit"]) / number(&found["similarity"]);
    for score in &scores {
        assert!(number(&score["similarity"]).abs() <= 1.0);
        assert_close(number(&score["logit"]), scale * number(&score["similarity"]));
        let ratio = number(&score["probability"]) / number(&found["probability"]);
        assert_close(ratio, (number(&score["logit"]) - number(&found["logit"])).exp());
    }
    let mean = (number(&scores[1]["logit"]) + number(&scores[2]["logit"])) / 2.0;
    assert_close(number(&found["objective"]), number(&found["logit"]) - 0.6 * mean);
}

#[test]
fn peak_and_regions_lie_inside_the_photo() {
    let sandbox = Sandbox::new();
    for (photo, width, height) in [("wide.png", 96, 64), ("tall.png", 50, 83)] {
        let found = sandbox.found(PROMPT, &[photo]);
        assert!(number(&found["evidence"]["positive"]) > 0.0);
        assert!(number(&found["evidence"]["negative"]) <= 0.0);
        let verdict = found["evidence"]["verdict"].as_str().unwrap();
        assert!(["present", "weak", "absent"].contains(&verdict), "{verdict}");
        let field = |value: &Value, name: &str| value[name].as_u64().unwrap();
        let peak = &found["peak"];
        assert!(field(peak, "x") < width && field(peak, "y") < height, "{peak}");
        let mut shares = Vec::new();
        for region in found["regions"].as_array().unwrap() {
            assert!(field(region, "x") + field(region, "width") <= width, "{region}");
            assert!(field(region, "y") + field(region, "height") <= height, "{region}");
            shares.push(number(&region["share"]));
        }
        assert!(!shares.is_empty() && shares.iter().sum::<f64>() <= 1.0 + 1e-9, "{shares:?}");
        assert!(shares.is_sorted_by(|one, next| one >= next), "{shares:?}");
    }
}

#[test]
fn without_rivals_the_probability_is_one_and_the_objective_the_logit() {
    let sandbox = Sandbox::new();
    let found = sandbox.found(PROMPT, &["wide.png"]);
    assert_eq!((&found["against"], number(&found["probability"])), (&Value::from(Vec::<Value>::new()), 1.0));
    assert_eq!(found["objective"], found["logit"]);
}

#[test]
fn several_photos_are_a_line_each_in_their_order() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize(PROMPT, &["tall.png", "wide.png", "./tall.png", "--json"]);
    outcome.assert_done();
    let lines = outcome.json();
    let images: Vec<&str> = lines.iter().map(|line| line["image"].as_str().unwrap()).collect();
    assert_eq!(images, ["tall.png", "wide.png", "./tall.png"]);
    assert_eq!(lines[0]["logit"], lines[2]["logit"]);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn people_read_photo_verdict_scores_and_files() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize(PROMPT, &[&["wide.png"], &RIVALS[..]].concat());
    outcome.assert_done();
    let found = sandbox.found(PROMPT, &[&["wide.png"], &RIVALS[..]].concat());
    let verdict = found["evidence"]["verdict"].as_str().unwrap();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], format!("wide.png: {verdict}"));
    for heading in ["prompt", "similarity", "logit", "softmax"] {
        assert!(lines[1].contains(heading), "{}", outcome.stdout);
    }
    assert!(lines[2].trim_start().starts_with(PROMPT), "{}", outcome.stdout);
    assert!(lines[3].trim_start().starts_with("against yellow-headed blackbird"), "{}", outcome.stdout);
    assert!(outcome.stdout.contains(&format!("{:.4}", number(&found["similarity"]))), "{}", outcome.stdout);
    let peak = format!("peak at {}, {}", found["peak"]["x"], found["peak"]["y"]);
    assert!(outcome.stdout.contains(&peak), "{}", outcome.stdout);
    assert!(outcome.stdout.contains(&format!("fieldmark-out/wide.{SLUG}.overlay.png")), "{}", outcome.stdout);
    assert!(outcome.stdout.lines().all(|line| line.len() < 100), "{}", outcome.stdout);
}

#[test]
fn control_characters_never_reach_the_terminal() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize("red\u{1b}[31m\nbird", &["wide.png", "no\u{1b}[2Jthing.png"]);
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    assert!(!outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'), "{outcome:#?}");
    assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1);
}

// Localize: which photos, which files.

#[test]
fn a_directory_means_its_images_by_name() {
    let sandbox = Sandbox::new();
    for name in ["b.png", "a.PNG", "c.jpeg"] {
        sandbox.copy_photo("shapes-96x64.png", Path::new("photos").join(name));
    }
    sandbox.write("photos/notes.txt", "no image");
    sandbox.write("photos/inside/d.png", "not looked at");
    let outcome = sandbox.localize(PROMPT, &["photos", "--json"]);
    outcome.assert_done();
    let images: Vec<Value> = outcome.json().into_iter().map(|line| line["image"].clone()).collect();
    assert_eq!(images, ["photos/a.PNG", "photos/b.png", "photos/c.jpeg"]);
}

#[test]
fn photos_of_the_same_name_never_share_a_file() {
    let sandbox = Sandbox::new();
    sandbox.copy_photo("shapes-96x64.png", "a/bird.png");
    sandbox.copy_photo("shapes-50x83.png", "b/bird.png");
    sandbox.copy_photo("shapes-50x83.png", "b/BIRD.jpg");
    let outcome = sandbox.localize(PROMPT, &["a/bird.png", "b", "--save", "overlay,map", "--json"]);
    outcome.assert_done();
    let mut files: Vec<String> = Vec::new();
    for line in outcome.json() {
        let size = numbers(&line["image_size"]);
        assert_eq!(size_of(&sandbox, &line["files"]["overlay"]), (size[0] as u32, size[1] as u32));
        files.extend(line["files"].as_object().unwrap().values().map(|file| file.to_string().to_lowercase()));
    }
    files.sort();
    files.dedup();
    assert_eq!(files.len(), 6);
    assert_eq!(sandbox.names("fieldmark-out").len(), 6);
}

#[test]
fn file_names_may_have_spaces_and_letters_of_any_script() {
    let sandbox = Sandbox::new();
    sandbox.copy_photo("shapes-96x64.png", "два дрозда – 鳥 (1).png");
    let found = sandbox.found("красный дрозд: плечо?", &["два дрозда – 鳥 (1).png"]);
    assert_eq!(
        found["files"]["overlay"],
        "fieldmark-out/два дрозда – 鳥 (1).красный-дрозд-плечо.overlay.png"
    );
    assert_eq!(size_of(&sandbox, &found["files"]["overlay"]), (96, 64));
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf8_stops_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let name = std::ffi::OsStr::from_bytes(b"photos/b\xffrd.png");
    sandbox.copy_photo("shapes-96x64.png", name);
    sandbox.copy_photo("shapes-50x83.png", "photos/c.png");
    let outcome = sandbox.localize(PROMPT, &["photos", "--json"]);
    outcome.assert_done();
    assert_eq!(outcome.json()[0]["image"], "photos/b\u{fffd}rd.png");
    assert_eq!(outcome.json().len(), 2);
}

#[test]
fn photos_are_seen_as_they_are_displayed() {
    let sandbox = Sandbox::new();
    sandbox.copy_photo("orientation_6.jpg", "turned.jpg");
    sandbox.copy_photo("orientation_1.jpg", "upright.jpg");
    let [turned, upright] = ["turned.jpg", "upright.jpg"].map(|photo| sandbox.found(PROMPT, &[photo]));
    assert_eq!((&turned["image_size"], &turned["grid"]), (&upright["image_size"], &upright["grid"]));
    let size = numbers(&turned["image_size"]);
    assert_eq!(size_of(&sandbox, &turned["files"]["overlay"]), (size[0] as u32, size[1] as u32));
}

#[test]
fn the_checkpoint_that_ships_needs_no_file_and_no_network() {
    let sandbox = Sandbox::new();
    let outcome =
        sandbox.run(&["localize", PROMPT, "wide.png", "--model", "miniature", "--offline", "--json"]);
    outcome.assert_done();
    assert_eq!((&outcome.json()[0]["model"], outcome.stderr.as_str()), (&"miniature".into(), ""));
    assert_eq!(sandbox.names(""), ["fieldmark-out", "model", "tall.png", "wide.png"], "nothing is cached");
}

#[test]
fn every_kind_of_file_has_its_size_and_its_values() {
    let sandbox = Sandbox::new();
    let kinds = ["--save", "overlay,heatmap,map,full,mask", "--output", "new/deep"];
    let found = sandbox.found(PROMPT, &[&["tall.png"], &kinds[..]].concat());
    for kind in ["overlay", "heatmap", "mask"] {
        assert_eq!(found["files"][kind], format!("new/deep/tall.{SLUG}.{kind}.png"));
        assert_eq!(size_of(&sandbox, &found["files"][kind]), (50, 83), "{kind}");
    }
    let npy = |kind: &str| {
        assert_eq!(found["files"][kind], format!("new/deep/tall.{SLUG}.{kind}.npy"));
        read_npy(&sandbox.path(found["files"][kind].as_str().unwrap()))
    };
    let (rows, columns, values) = npy("map");
    assert_eq!(found["grid"], Value::from(vec![rows, columns]));
    let sum = |sign: f32| -> f64 {
        values.iter().filter(|value| *value * sign > 0.0).map(|value| f64::from(*value)).sum()
    };
    assert_close(sum(1.0), number(&found["evidence"]["positive"]));
    assert_close(sum(-1.0), number(&found["evidence"]["negative"]));
    let (height, width, full) = npy("full");
    assert_eq!((height, width), (83, 50));
    let peak = number(&found["peak"]["y"]) as usize * width + number(&found["peak"]["x"]) as usize;
    assert!(full.iter().all(|value| *value <= full[peak]));
    let mask = image::open(sandbox.path(found["files"]["mask"].as_str().unwrap())).unwrap().into_luma8();
    for (pixel, value) in mask.pixels().zip(&full) {
        // At the threshold itself, rounding may decide either way.
        let distance = value - full[peak] / 2.0;
        assert!(
            distance.abs() < 1e-4 * full[peak] || (pixel.0[0] == 255) == (distance > 0.0),
            "{pixel:?} {value}"
        );
    }
    assert_eq!(sandbox.names("new/deep").len(), 5);
}

#[test]
fn nothing_is_saved_where_nothing_is_asked_for() {
    let sandbox = Sandbox::new();
    let found = sandbox.found(PROMPT, &["wide.png", "--save", "none"]);
    assert_eq!(found["files"], Value::Object(Default::default()));
    assert!(!sandbox.path("fieldmark-out").exists());
}

#[test]
fn a_run_that_saves_nothing_leaves_no_new_folder_and_every_old_one() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("old")).unwrap();
    sandbox.write("prompts.txt", PROMPT);
    sandbox.write("questions.jsonl", r#"{"image": "wide.png", "prompt": "a beak", "point": [1, 1]}"#);
    let refused: [&[&str]; 4] = [
        &["localize", PROMPT, "wide.png"],
        &["compare", "wide.png", PROMPT, "another"],
        &["batch", "prompts.txt", "wide.png"],
        &["evaluate", "questions.jsonl"],
    ];
    for command in refused {
        for output in ["new/deep", "old/deep"] {
            let arguments =
                [command, &["--model", "nowhere/at-all", "--offline", "--output", output]].concat();
            sandbox.run(&arguments).assert_refused(&["nowhere/at-all"]);
        }
    }
    assert!(!sandbox.path("new").exists());
    assert!(sandbox.names("old").is_empty());
}

#[test]
fn a_map_without_positive_evidence_is_blank_and_says_so() {
    let sandbox = Sandbox::new();
    let (prompt, arguments) = without_positive_evidence(&sandbox);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let found = sandbox.found(&prompt, &arguments);
    assert_eq!(found["evidence"]["positive"].to_string(), "0.0");
    assert!(number(&found["evidence"]["negative"]) < 0.0);
    assert_eq!(found["evidence"]["verdict"], "absent");
    assert_eq!((&found["peak"], &found["regions"]), (&Value::Null, &Value::from(Vec::<Value>::new())));
    let overlay = image::open(sandbox.path(found["files"]["overlay"].as_str().unwrap())).unwrap().into_rgb8();
    let photo = image::open(sandbox.path("wide.png")).unwrap().into_rgb8();
    let upper = |picture: &image::RgbImage| image::imageops::crop_imm(picture, 0, 0, 96, 32).to_image();
    assert_eq!(upper(&overlay), upper(&photo), "the photo is as it was");
    assert_ne!(overlay, photo, "a caption says so");
    let outcome = sandbox.localize(&prompt, &arguments);
    assert!(outcome.stdout.contains("no positive evidence"), "{}", outcome.stdout);
}

/// A question to the seeded checkpoint whose map is negative everywhere.
fn without_positive_evidence(sandbox: &Sandbox) -> (String, Vec<String>) {
    for prompt in ["house sparrow", "rusty", "reed", "photo", "marsh", "a", "yellow", "blackbird"] {
        for rival in ["bird", "the middle", "sings"] {
            let arguments = ["wide.png", "--against", rival, "--strength", "50", "--detail", "0.15"];
            let found = sandbox.found(prompt, &arguments);
            if number(&found["evidence"]["positive"]) == 0.0 {
                return (prompt.into(), arguments.map(str::to_owned).to_vec());
            }
        }
    }
    panic!("no question has a map that is negative everywhere");
}

#[test]
fn existing_results_are_replaced_whole() {
    let sandbox = Sandbox::new();
    let overlay = sandbox.found(PROMPT, &["wide.png"])["files"]["overlay"].as_str().unwrap().to_owned();
    let first = std::fs::read(sandbox.path(&overlay)).unwrap();
    // A second name for the first file: were it overwritten in place, this name would show it.
    std::fs::hard_link(sandbox.path(&overlay), sandbox.path("kept.png")).unwrap();
    sandbox.copy_photo("shapes-50x83.png", "wide.png");
    sandbox.found(PROMPT, &["wide.png"]);
    assert_eq!(size_of(&sandbox, &overlay.into()), (50, 83));
    assert_eq!(std::fs::read(sandbox.path("kept.png")).unwrap(), first);
    assert_eq!(sandbox.names("fieldmark-out"), [format!("wide.{SLUG}.overlay.png")]);
}

// Localize: the options.

#[test]
fn fit_decides_grid_and_covered_part() {
    let sandbox = Sandbox::new();
    let at = |fit: &str| sandbox.found(PROMPT, &["wide.png", "--fit", fit, "--save", "full"]);
    let squash = at("squash");
    assert_eq!((&squash["fit"], numbers(&squash["grid"])), (&"squash".into(), vec![8.0, 8.0]));
    assert_eq!(numbers(&squash["covers"]), [0.0, 0.0, 96.0, 64.0]);
    let crop = at("crop");
    assert_eq!(numbers(&crop["grid"]), [8.0, 8.0]);
    assert_eq!(numbers(&crop["covers"]), [16.0, 0.0, 80.0, 64.0]);
    let (_, width, full) = read_npy(&sandbox.path(crop["files"]["full"].as_str().unwrap()));
    for (index, value) in full.iter().enumerate() {
        assert_eq!(value.is_nan(), !(16..80).contains(&(index % width)), "{index}");
    }
    let whole = at("whole");
    assert_ne!(whole["grid"], squash["grid"]);
    assert_eq!(whole["covers"], squash["covers"]);
}

#[test]
fn layers_count_from_either_end() {
    let sandbox = Sandbox::new();
    let at = |layer: &str| sandbox.found(PROMPT, &["wide.png", "--layer", layer, "--save", "map"]);
    let map = |layer: &str| map_of(&sandbox, &at(layer));
    assert_eq!(at("-2")["layer"], -2);
    // The layer changes the map, not the score; but blocks with and without a graph round differently.
    let [last, first] = ["-1", "0"].map(|layer| number(&at(layer)["logit"]));
    assert!((last - first).abs() < 2e-6 * first.abs(), "{last} at the last layer, {first} at the first");
    assert_eq!((map("-1"), map("-4")), (map("3"), map("0")));
    assert_ne!(map("-1"), map("-2"));
}

#[test]
fn layers_that_are_not_there_are_refused() {
    let sandbox = Sandbox::new();
    for layer in ["4", "-5", "9223372036854775807", "-9223372036854775808"] {
        let outcome = sandbox.localize(PROMPT, &["wide.png", "--layer", layer]);
        outcome.assert_refused(&["layer: expected -4 to 3", layer]);
    }
}

#[test]
fn methods_have_names() {
    let sandbox = Sandbox::new();
    let at = |method: &str| sandbox.found(PROMPT, &["wide.png", "--method", method, "--save", "map"]);
    let maps = ["grad-cam", "hires-cam"].map(|method| {
        let found = at(method);
        assert_eq!(found["method"], method);
        map_of(&sandbox, &found)
    });
    assert_ne!(maps[0], maps[1]);
    let outcome = sandbox.localize(PROMPT, &["wide.png", "--method", "magic"]);
    assert_eq!(outcome.status, Some(2));
    for part in ["magic", "grad-cam", "hires-cam"] {
        assert!(outcome.stderr.contains(part), "{}", outcome.stderr);
    }
}

#[test]
fn a_checkpoint_may_recommend_a_method() {
    let sandbox = Sandbox::new();
    sandbox.change_json("config.json", "/fieldmark", serde_json::json!({"method": "hires-cam"}));
    assert_eq!(sandbox.found(PROMPT, &["wide.png"])["method"], "hires-cam");
    assert_eq!(sandbox.found(PROMPT, &["wide.png", "--method", "grad-cam"])["method"], "grad-cam");
}

#[test]
fn rivals_are_weighted_where_that_is_asked_for() {
    let sandbox = Sandbox::new();
    let at = |aggregate: &str| {
        let arguments = ["wide.png", "--aggregate", aggregate, "--save", "map"];
        sandbox.found(PROMPT, &[&arguments, &RIVALS[..]].concat())
    };
    let (mean, weighted) = (at("mean"), at("weighted"));
    assert_eq!(weighted["aggregate"], "weighted");
    assert_eq!(mean["logit"], weighted["logit"]);
    assert_ne!(mean["objective"], weighted["objective"]);
}

#[test]
fn strength_zero_is_the_plain_map() {
    let sandbox = Sandbox::new();
    let with = |arguments: &[&str]| {
        map_of(&sandbox, &sandbox.found(PROMPT, &[&["wide.png", "--save", "map"], arguments].concat()))
    };
    let plain = with(&[]);
    assert_eq!(with(&[&RIVALS[..], &["--strength", "0"]].concat()), plain);
    assert_ne!(with(&RIVALS), plain);
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::new();
    for (option, value) in [
        ("strength", "-1"),
        ("strength", "NaN"),
        ("strength", "inf"),
        ("detail", "0"),
        ("detail", "-2"),
        ("detail", "NaN"),
    ] {
        let outcome = sandbox.localize(PROMPT, &["wide.png", "tall.png", &format!("--{option}"), value]);
        outcome.assert_refused(&[option, "expected", value]);
    }
    let outcome = sandbox.localize(PROMPT, &["wide.png", "--strength", "much"]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""));
    assert!(outcome.stderr.contains("'much' for '--strength <STRENGTHS>'"), "{}", outcome.stderr);
}

#[test]
fn templates_phrase_the_prompts() {
    let sandbox = Sandbox::new();
    let at = |prompt: &str, templates: &[&str]| {
        number(&sandbox.found(prompt, &[&["wide.png"], templates].concat())["similarity"])
    };
    let plain = at("a photo of a reed", &[]);
    assert_eq!(at("reed", &["--template", "a photo of a {}"]), plain);
    let both = at("reed", &["--template", "a photo of a {}", "--template", "{}"]);
    assert!(both != plain && both != at("reed", &[]));
    let outcome = sandbox.localize("reed", &["wide.png", "--template", "a photo"]);
    outcome.assert_refused(&["template", "{}", "\"a photo\""]);
}

#[test]
fn the_nearest_concepts_become_rivals() {
    let sandbox = Sandbox::new();
    sandbox.write("birds.txt", "# birds\nhouse sparrow\nReed\n\nrusty blackbird # here\nmarsh\n");
    let with = |arguments: &[&str]| {
        sandbox.localize("reed", &[&["wide.png", "--json", "--concepts", "birds.txt"], arguments].concat())
    };
    let outcome = with(&["--nearest", "2"]);
    outcome.assert_done();
    let line = outcome.json().remove(0);
    let rivals = prompts(&line["against"]);
    assert_eq!(rivals.len(), 2);
    assert!(!rivals.contains(&"Reed"), "the target is no rival of itself");

    let outcome = with(&["--nearest", "99", "--against", "Marsh"]);
    let line = outcome.json().remove(0);
    let mut rivals = prompts(&line["against"]);
    rivals.sort();
    assert_eq!(rivals, ["Marsh", "house sparrow", "rusty blackbird"], "no rival is given twice");
}

#[test]
fn a_concept_list_must_have_a_concept_to_offer() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.txt", "# nothing\n\n");
    sandbox.write("same.txt", "REED\n");
    sandbox.write("bytes.txt", b"\xff\xfe");
    let with = |file: &str| sandbox.localize("reed", &["wide.png", "--concepts", file]);
    with("empty.txt").assert_refused(&["empty.txt", "expected a concept a line, found none"]);
    with("bytes.txt").assert_refused(&["bytes.txt", "UTF-8"]);
    with("same.txt").assert_refused(&["concepts", "neither the target nor a rival already"]);
    with("nowhere.txt").assert_refused(&["nowhere.txt", "cannot be read"]);
    with("model").assert_refused(&["model", "cannot be read"]);
    for arguments in [&["--nearest", "2"][..], &["--concepts", "same.txt", "--nearest", "0"]] {
        assert_eq!(sandbox.localize("reed", &[&["wide.png"], arguments].concat()).status, Some(2));
    }
}

#[test]
fn a_rival_is_neither_the_target_nor_there_twice() {
    let sandbox = Sandbox::new();
    let against = |rivals: &[&str]| {
        let arguments: Vec<&str> = rivals.iter().flat_map(|rival| ["--against", rival]).collect();
        sandbox.localize("Rusty blackbird", &[&["wide.png"], &arguments[..]].concat())
    };
    against(&["reed", "rusty  BLACKBIRD"]).assert_refused(&["\"rusty  BLACKBIRD\"", "the target itself"]);
    against(&["reed", "marsh", "Reed"]).assert_refused(&["\"Reed\"", "twice"]);
}

#[test]
fn empty_prompts_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.localize("", &["wide.png"]).assert_refused(&["prompt \"\"", "empty"]);
    sandbox.localize(" \t", &["wide.png"]).assert_refused(&["empty"]);
    sandbox.localize(PROMPT, &["wide.png", "--against", ""]).assert_refused(&["empty"]);
}

#[test]
fn a_prompt_that_is_too_long_is_cut_with_one_warning() {
    let sandbox = Sandbox::new();
    let long = "a red bird that sings above the reed while the others wait in the marsh";
    let outcome = sandbox.localize(long, &["wide.png", "tall.png", "--json"]);
    outcome.assert_done();
    assert_eq!(outcome.json().len(), 2);
    let notes = outcome.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains(long) && notes[0].contains("16") && notes[0].contains("cut"), "{notes:?}");
    let quiet = sandbox.localize(long, &["wide.png", "--quiet"]);
    quiet.assert_done();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn detail_makes_the_grid_finer() {
    let sandbox = Sandbox::new();
    let cells = |detail: &str| {
        let grid = numbers(&sandbox.found(PROMPT, &["wide.png", "--detail", detail])["grid"]);
        grid[0] * grid[1]
    };
    let (usual, fine) = (cells("1"), cells("2"));
    assert!(fine > 3.0 * usual && fine <= 256.0, "{usual} and {fine}");
    let too_fine = sandbox.localize(PROMPT, &["wide.png", "--detail", "40"]);
    too_fine.assert_refused(&["detail", "expected at most"]);
    let absurd = sandbox.localize(PROMPT, &["wide.png", "--detail", "1e300"]);
    absurd.assert_refused(&["detail", "expected"]);
    let useless = sandbox.localize(PROMPT, &["wide.png", "--detail", "2", "--fit", "crop"]);
    useless.assert_refused(&["detail", "whole"]);
}

#[test]
fn the_pixel_limit_can_be_changed() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize(PROMPT, &["wide.png", "tall.png", "--pixel-limit", "5000", "--json"]);
    assert_eq!((outcome.status, outcome.json().len()), (Some(1), 1), "{outcome:#?}");
    assert!(outcome.errors()[0].contains("wide.png: the image has 96 x 64 pixels"), "{outcome:#?}");
    assert!(outcome.hints()[0].contains("--pixel-limit"), "{outcome:#?}");
}

#[test]
fn a_photo_in_the_place_of_the_prompt_is_noticed() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize("wide.png", &["red bird"]);
    outcome.assert_refused(&["red bird: cannot be read"]);
    assert!(outcome.notes()[0].contains("wide.png is taken as the prompt"), "{outcome:#?}");
    assert!(outcome.hints()[0].contains("quotes"), "{outcome:#?}");
}

// Compare.

fn compare(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.run(&[&["compare", "wide.png"], arguments, &["--model", "model"]].concat())
}

#[test]
fn compare_scores_all_prompts_and_draws_one_sheet() {
    let sandbox = Sandbox::new();
    let asked = ["red-winged blackbird", "rusty blackbird", "house sparrow"];
    let outcome = compare(&sandbox, &[&asked[..], &["--json"]].concat());
    outcome.assert_done();
    let lines = outcome.json();
    let [line] = lines.as_slice() else { panic!("{outcome:#?}") };
    assert_eq!(line["image_size"], Value::from(vec![96, 64]));
    assert_eq!((&line["model"], &line["strength"]), (&"model".into(), &0.0.into()));
    assert_eq!(prompts(&line["prompts"]), asked);
    let all = line["prompts"].as_array().unwrap();
    assert_close(all.iter().map(|prompt| number(&prompt["probability"])).sum(), 1.0);
    for prompt in all {
        assert_eq!(prompt["objective"], prompt["logit"]);
        assert!(number(&prompt["evidence"]["positive"]) >= 0.0);
    }
    assert_eq!(line["files"]["sheet"], "fieldmark-out/wide.sheet.png");
    let (width, height) = size_of(&sandbox, &line["files"]["sheet"]);
    assert!(width > 96 && height > 64, "{width} x {height}");
}

#[test]
fn compare_gives_each_prompt_the_files_that_are_asked_for() {
    let sandbox = Sandbox::new();
    // The two prompts have the same slug.
    let outcome = compare(&sandbox, &["red bird", "red-bird", "--save", "map,overlay", "--json"]);
    outcome.assert_done();
    let line = outcome.json().remove(0);
    assert_eq!(line["files"], Value::Object(Default::default()));
    assert_eq!(line["prompts"][1]["files"]["map"], "fieldmark-out/wide.red-bird-2.map.npy");
    assert_eq!(sandbox.names("fieldmark-out").len(), 4);
}

#[test]
fn a_contrasted_comparison_is_localize_against_the_others() {
    let sandbox = Sandbox::new();
    let outcome =
        compare(&sandbox, &["reed", "marsh", "rusty", "--strength", "0.6", "--save", "map", "--json"]);
    outcome.assert_done();
    let line = outcome.json().remove(0);
    let marsh = &line["prompts"][1];
    let compared = map_of(&sandbox, marsh);
    let arguments = ["wide.png", "--against", "reed", "--against", "rusty", "--save", "map"];
    let found = sandbox.found("marsh", &arguments);
    assert_close(number(&marsh["objective"]), number(&found["objective"]));
    for (one, other) in compared.iter().zip(map_of(&sandbox, &found)) {
        assert_close(f64::from(*one), f64::from(other));
    }
}

#[test]
fn people_read_a_comparison() {
    let sandbox = Sandbox::new();
    let outcome = compare(&sandbox, &["reed", "marsh"]);
    outcome.assert_done();
    for part in ["wide.png", "reed", "marsh", "softmax", "fieldmark-out/wide.sheet.png"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
}

#[test]
fn compare_wants_two_different_prompts_and_a_photo() {
    let sandbox = Sandbox::new();
    let one = compare(&sandbox, &["reed"]);
    assert_eq!((one.status, one.stdout.as_str()), (Some(2), ""), "{one:#?}");
    assert!(one.stderr.contains("two or more"), "{one:#?}");
    compare(&sandbox, &["reed", "marsh", "REED"]).assert_refused(&["\"REED\"", "twice"]);
    compare(&sandbox, &["reed", ""]).assert_refused(&["empty"]);
    let missing = sandbox.run(&["compare", "nowhere.png", "reed", "marsh", "--model", "model"]);
    missing.assert_refused(&["nowhere.png: cannot be read"]);
}

// The process.

#[test]
fn the_status_says_how_much_was_done() {
    let sandbox = Sandbox::new();
    let status = |images: &[&str]| sandbox.localize(PROMPT, images).status;
    assert_eq!(status(&["wide.png", "tall.png"]), Some(0));
    assert_eq!(status(&["wide.png", "nowhere.png", "tall.png"]), Some(1));
    assert_eq!(status(&["nowhere.png", "neither.png"]), Some(2));
    for usage in [&[][..], &["localize"], &["localize", PROMPT], &["compare"], &["sing"], &["--loud"]] {
        let outcome = sandbox.run(usage);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{usage:?}: {outcome:#?}");
        assert!(outcome.stderr.contains("Usage: fieldmark"), "{usage:?}: {outcome:#?}");
    }
}

#[test]
fn each_failed_input_is_named_and_the_advice_is_given_once() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize(PROMPT, &["one.png", "wide.png", "two.png", "--quiet"]);
    assert_eq!(outcome.status, Some(1));
    let errors = outcome.errors();
    assert_eq!(errors.len(), 2, "{outcome:#?}");
    assert!(errors[0].contains("one.png: cannot be read: No such file") && errors[1].contains("two.png"));
    assert_eq!(outcome.hints().len(), 1, "{outcome:#?}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sandbox = Sandbox::new();
    for arguments in [&["--json"][..], &[]] {
        let mut command = sandbox.command();
        command.args(["localize", PROMPT, "--model", "model", "wide.png", "tall.png"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let status = wait(&mut child);
        let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
        assert_eq!((status, stderr.as_str()), (Some(0), ""));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let sandbox = Sandbox::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = sandbox.command();
    command.args(["localize", PROMPT, "--model", "model", "wide.png", "--json"]);
    let mut child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(wait(&mut child), Some(2));
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(stderr.starts_with("error: standard output: cannot be written: No space left"), "{stderr}");
}

#[test]
fn no_colour_where_there_is_no_terminal() {
    let sandbox = Sandbox::new();
    for arguments in [&["--help"][..], &["localize"], &["localize", PROMPT, "wide.png", "--model", "model"]] {
        let outcome = sandbox.finish(sandbox.command().env("TERM", "xterm-256color").args(arguments));
        assert!(!outcome.stdout.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'), "{outcome:#?}");
    }
}

#[test]
fn the_version_is_the_crates() {
    let sandbox = Sandbox::new();
    for arguments in [&["--version"][..], &["-V"]] {
        let version = sandbox.run(arguments);
        assert_eq!(version.stdout, format!("fieldmark {}\n", env!("CARGO_PKG_VERSION")));
    }
    let version = sandbox.run(&["localize", "--version"]);
    assert_eq!(version.stdout, format!("fieldmark-localize {}\n", env!("CARGO_PKG_VERSION")));
}

// Download, against a small server that plays the Hub.

fn download(sandbox: &Sandbox, server: &Server, arguments: &[&str]) -> Outcome {
    let mut command = sandbox.command();
    command.env("HF_ENDPOINT", server.url()).env("HF_HOME", sandbox.path("hf")).env("NO_PROXY", "127.0.0.1");
    sandbox.finish(command.arg("download").args(arguments))
}

#[test]
fn download_fetches_into_the_shared_cache_and_says_so() {
    let (sandbox, server) = (Sandbox::new(), Repository::usual().serve());
    let first = download(&sandbox, &server, &[REPO, "--json"]);
    first.assert_done();
    let line = first.json().remove(0);
    let snapshot = sandbox.path(format!("hf/hub/models--org--bird-clip/snapshots/{COMMIT}"));
    assert_eq!(line["directory"], snapshot.to_str().unwrap());
    assert_eq!((&line["model"], &line["commit"]), (&REPO.into(), &COMMIT.into()));
    let files = line["files"].as_array().unwrap();
    assert_eq!(files.len(), 6);
    for file in files {
        let path = snapshot.join(file["name"].as_str().unwrap());
        assert_eq!(file["bytes"], path.metadata().unwrap().len());
    }
    // No terminal: a line a file instead of a bar.
    assert_eq!(first.notes().len(), 6, "{first:#?}");
    assert!(first.notes()[5].contains("fetching org/bird-clip/model.safetensors, 700.00 kB"), "{first:#?}");

    let requests = server.requests().len();
    let again = download(&sandbox, &server, &[REPO]);
    again.assert_done();
    assert_eq!(again.stdout, format!("{REPO}: 6 files, 700.04 kB\n  {}\n", snapshot.display()));
    assert_eq!((again.stderr.as_str(), server.requests().len()), ("", requests));
}

#[test]
fn download_offline_only_looks() {
    let (sandbox, server) = (Sandbox::new(), Repository::usual().serve());
    let before = download(&sandbox, &server, &[REPO, "--offline"]);
    before.assert_refused(&[REPO, "config.json", "offline"]);
    assert!(before.hints()[0].contains("drop --offline"), "{before:#?}");
    assert!(server.requests().is_empty());
    download(&sandbox, &server, &[REPO, "--quiet"]).assert_done();
    download(&sandbox, &server, &[REPO, "--offline"]).assert_done();
}

#[test]
fn download_goes_on_after_a_model_that_is_not_there() {
    let (sandbox, server) = (Sandbox::new(), Repository::usual().serve());
    let outcome = download(&sandbox, &server, &["org/nothing", REPO, "--json", "--quiet"]);
    assert_eq!((outcome.status, outcome.json().len()), (Some(1), 1), "{outcome:#?}");
    assert_eq!(outcome.errors().len(), 1);
    assert!(outcome.errors()[0].starts_with("error: model org/nothing: "), "{outcome:#?}");
    download(&sandbox, &server, &["org/nothing", "--quiet"]).assert_refused(&["org/nothing"]);
    download(&sandbox, &server, &["./model"]).assert_refused(&["./model", "nothing to fetch"]);
}

#[test]
fn a_downloaded_checkpoint_is_found_by_its_name() {
    let sandbox = Sandbox::new();
    let bodies: Vec<(String, Vec<u8>)> = sandbox
        .names("model")
        .into_iter()
        .map(|name| (name.clone(), std::fs::read(sandbox.path("model").join(name)).unwrap()))
        .collect();
    let files: Vec<(&str, &[u8])> = bodies.iter().map(|(name, body)| (name.as_str(), &body[..])).collect();
    let server = Repository::new(&files).serve();
    let mut command = sandbox.command();
    command.env("HF_ENDPOINT", server.url()).env("HF_HOME", sandbox.path("hf")).env("NO_PROXY", "127.0.0.1");
    command.args(["localize", PROMPT, "wide.png", "--json", "--model", REPO]);
    let fetched = sandbox.finish(&mut command);
    fetched.assert_done();
    assert!(fetched.notes().iter().any(|note| note.contains("model.safetensors")), "{fetched:#?}");
    drop(server);
    let cached = sandbox.finish(command.env("HF_HUB_OFFLINE", "1"));
    cached.assert_done();
    assert_eq!(cached.stderr, "");
    let local = sandbox.found(PROMPT, &["wide.png"]);
    for outcome in [fetched, cached] {
        let line = outcome.json().remove(0);
        assert_eq!((&line["model"], &line["logit"]), (&REPO.into(), &local["logit"]));
    }
}

// The terminal.

#[test]
fn a_picture_is_shown_only_to_people_or_when_asked() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["wide.png"][..],
        &["wide.png", "--preview", "never"],
        &["wide.png", "--preview", "kitty", "--json"],
    ] {
        let outcome = sandbox.localize(PROMPT, arguments);
        outcome.assert_done();
        assert!(!outcome.stdout.contains('\x1b'), "{outcome:#?}");
    }
    for (way, begin) in [
        ("kitty", "\x1b_Ga=T"),
        ("iterm2", "\x1b]1337;File="),
        ("sixel", "\x1bP0;1q"),
        ("blocks", "\x1b[38;2;"),
    ] {
        let outcome = sandbox.localize(PROMPT, &["wide.png", "tall.png", "--preview", way]);
        outcome.assert_done();
        assert!(outcome.stdout.matches(begin).count() >= 2, "{way}: {}", outcome.stdout);
    }
    let compared = ["compare", "wide.png", "red", "blue", "--model", "model", "--preview", "always"];
    let outcome = sandbox.run(&compared);
    outcome.assert_done();
    assert!(outcome.stdout.contains("▀\x1b[0m"), "{outcome:#?}");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let outcome = sandbox.run(&["completions", shell]);
        outcome.assert_done();
        for word in ["localize", "batch", "strength", "layers", "quiet", "version"] {
            assert!(outcome.stdout.contains(word), "{shell}: {word}");
        }
        let lists_values = !matches!(shell, "powershell" | "elvish");
        assert_eq!(outcome.stdout.contains("otsu"), lists_values, "{shell}");
        // What cannot be typed, and what help texts do not show.
        for word in ["peak:", "share:", "layers-combine", "class-phrase"] {
            assert!(!outcome.stdout.contains(word), "{shell}: {word}");
        }
    }
    let outcome = sandbox.run(&["man"]);
    outcome.assert_done();
    assert!(
        outcome.stdout.contains(".TH fieldmark 1") && outcome.stdout.contains("fieldmark\\-batch(1)"),
        "{outcome:#?}"
    );
    let outcome = sandbox.run(&["man", "batch"]);
    outcome.assert_done();
    assert!(
        outcome.stdout.contains(".TH fieldmark-batch 1") && outcome.stdout.contains("resume"),
        "{outcome:#?}"
    );
    sandbox.run(&["man", "nothing"]).assert_refused(&["nothing", "localize"]);
}

#[test]
fn a_report_is_a_file_of_one_photo() {
    let sandbox = Sandbox::new();
    let found = sandbox.found(PROMPT, &[&["wide.png", "--report", "pages/bird.html"], &RIVALS[..]].concat());
    assert_eq!(found["files"]["report"], "pages/bird.html");
    let html = std::fs::read_to_string(sandbox.path("pages/bird.html")).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("rusty blackbird"));
    let outcome = sandbox.localize(PROMPT, &["wide.png", "tall.png", "--report", "bird.html"]);
    outcome.assert_refused(&["--report", "one photo"]);
    let compared = ["compare", "wide.png", "red", "blue", "--model", "model", "--save", "report"];
    sandbox.run(&compared).assert_done();
    assert!(sandbox.path("fieldmark-out/wide.report.html").is_file());
}

#[test]
fn methods_are_listed_for_people_and_programs() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.run(&["methods"]);
    outcome.assert_done();
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 100), "{}", outcome.stdout);
    let outcome = sandbox.run(&["methods", "--json"]);
    outcome.assert_done();
    let lines = outcome.json();
    assert!(lines.len() > 10);
    let listed = sandbox.run(&["methods"]).stdout;
    for line in &lines {
        assert!(listed.contains(line["method"].as_str().unwrap()) && line["measures"].is_string(), "{line}");
        assert!(line["linear"].is_boolean() && line["paper"].is_string(), "{line}");
    }
}

#[test]
fn compare_draws_several_methods_on_one_sheet() {
    let sandbox = Sandbox::new();
    let asked =
        ["red bird", "reed", "--methods", "grad-cam,le-grad,grad-cam", "--save", "sheet,map", "--json"];
    let outcome = compare(&sandbox, &asked);
    outcome.assert_done();
    let lines = outcome.json();
    let methods: Vec<&Value> = lines.iter().map(|line| &line["method"]).collect();
    assert_eq!(methods, ["grad-cam", "le-grad"]);
    for line in &lines {
        assert_eq!(line["files"]["sheet"], "fieldmark-out/wide.sheet.png");
    }
    let map = &lines[1]["prompts"][1]["files"]["map"];
    assert_eq!(map, "fieldmark-out/wide.reed-le-grad.map.npy");
    assert_eq!(sandbox.names("fieldmark-out").len(), 5);
    let people = compare(&sandbox, &["red bird", "reed", "--methods", "grad-cam,le-grad"]);
    people.assert_done();
    for part in ["peak: red bird", "le-grad", "wide.sheet.png"] {
        assert!(people.stdout.contains(part), "{part}: {}", people.stdout);
    }
}

#[test]
fn all_methods_take_every_layer_of_every_kind_of_tower_and_contrast() {
    for model in ["tiny-gelu", "tiny-siglip", "open-clip-mean"] {
        let sandbox = Sandbox::with_model(model);
        for layer in ["0", "-1"] {
            let all = ["a", "b", "--layer", layer, "--methods", "all", "--strength", "0.6", "--save", "none"];
            let outcome = compare(&sandbox, &[&all[..], &["--json"]].concat());
            assert_eq!(outcome.status, Some(0), "{model} {outcome:#?}");
            assert!(!outcome.stderr.contains("left out"), "{model}: {}", outcome.stderr);
            let lines = outcome.json();
            assert_eq!(lines.len(), METHODS.len(), "{model}");
            for line in lines {
                assert_eq!((&line["layers"][0], &line["strength"]), (&number_of(layer), &0.6.into()));
            }
        }
        let beyond = compare(&sandbox, &["a", "b", "--layer", "9", "--methods", "all"]);
        assert_eq!(beyond.status, Some(2), "{beyond:#?}");
        assert!(beyond.stderr.contains("layer: expected"), "{}", beyond.stderr);
    }
}

fn number_of(text: &str) -> Value {
    text.parse::<i64>().expect("a number").into()
}

#[test]
fn several_layers_are_named_in_ranges() {
    let sandbox = Sandbox::new();
    let arguments = ["wide.png", "--layers", "-2..-1", "--layers-combine", "product"];
    let found = sandbox.found("reed", &arguments);
    assert_eq!(found["layers"], Value::from(vec![-2, -1]));
    assert_eq!((&found["layers_combine"], &found["unit"]), (&"product".into(), &"none".into()));
    for wrong in [["--layers", "3..1"], ["--layers", "0..9"]] {
        let outcome =
            sandbox.run(&[&["localize", "reed", "wide.png", "--model", "model"], &wrong[..]].concat());
        assert_eq!(outcome.status, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains("expected"), "{}", outcome.stderr);
    }
}

#[test]
fn the_command_report_writes_a_page_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.run(&["report", "wide.png", "red", "blue", "--model", "model"]).assert_done();
    assert_eq!(sandbox.names("fieldmark-out"), ["wide.report.html"]);
    let sheet =
        ["report", "wide.png", "red", "blue", "--model", "model", "--save", "sheet", "--output", "other"];
    sandbox.run(&sheet).assert_done();
    assert_eq!(sandbox.names("other"), ["wide.sheet.png"]);
}

#[test]
fn a_file_of_one_kind_is_refused_where_it_would_be_left_out() {
    let sandbox = Sandbox::new();
    let several = ["a", "b", "--methods", "grad-cam,hires-cam", "--report", "page.html"];
    assert_eq!(compare(&sandbox, &several).status, Some(2));
    let batch = sandbox.run(&["batch", "birds", "wide.png", "--model", "model", "--coco", "regions.json"]);
    assert_eq!(batch.status, Some(2), "{batch:#?}");
}

#[test]
fn softmax_explains_the_probability_and_has_no_strength_between() {
    let sandbox = Sandbox::new();
    let asked = ["wide.png", "--against", "marsh", "--aggregate", "softmax"];
    let found = sandbox.found("reed", &asked);
    assert_close(number(&found["objective"]), number(&found["probability"]));
    assert_eq!((&found["objective_unit"], &found["unit"]), (&"probability".into(), &"probability".into()));
    assert_eq!(found["strength"], 1.0);
    let arguments = [&["localize", "reed"], &asked[..], &["--strength", "0.3", "--model", "model"]].concat();
    let outcome = sandbox.run(&arguments);
    assert_eq!(outcome.status, Some(2), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("strength: expected 0 or 1 with softmax, found 0.3"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_logit_alone_is_the_plain_map_among_rivals_and_has_no_strength() {
    let sandbox = Sandbox::new();
    let asked = ["wide.png", "--against", "marsh", "--aggregate", "logit", "--save", "map", "--json"];
    let outcome = sandbox.localize("reed", &asked);
    outcome.assert_done();
    assert!(outcome.stderr.contains("logit explains the prompt alone"), "{}", outcome.stderr);
    let found = outcome.json().remove(0);
    assert_eq!((&found["aggregate"], &found["strength"]), (&"logit".into(), &0.0.into()));
    assert_close(number(&found["objective"]), number(&found["logit"]));
    // The rival has its share of the probability all the same.
    assert_close(number(&found["probability"]) + number(&found["against"][0]["probability"]), 1.0);
    let map = || std::fs::read(sandbox.path("fieldmark-out/wide.reed.map.npy")).unwrap();
    let logit = map();
    sandbox.localize("reed", &["wide.png", "--save", "map"]).assert_done();
    assert_eq!(logit, map(), "the map of the prompt without rivals");
    let typed = sandbox.localize("reed", &["wide.png", "--aggregate", "logit", "--strength", "0.6"]);
    assert_eq!(typed.status, Some(2), "{typed:#?}");
    assert!(typed.stderr.contains("strength: expected 0 with logit, found 0.6"), "{}", typed.stderr);
}

#[test]
fn instances_are_numbered_as_the_regions_are() {
    let sandbox = Sandbox::new();
    let found = sandbox.found("reed", &["wide.png", "--threshold", "peak:0.3", "--save", "instances,mask"]);
    let regions = found["regions"].as_array().unwrap();
    let path = sandbox.path("fieldmark-out/wide.reed.instances.png");
    assert_eq!(found["files"]["instances"], "fieldmark-out/wide.reed.instances.png");
    let shown = image::open(path).unwrap().into_rgb8();
    let mask = image::open(sandbox.path("fieldmark-out/wide.reed.mask.png")).unwrap().into_luma8();
    assert_eq!(shown.dimensions(), mask.dimensions());
    let mut areas = std::collections::HashMap::<[u8; 3], u64>::new();
    for (color, inside) in shown.pixels().zip(mask.pixels()) {
        *areas.entry(color.0).or_default() += 1;
        assert!(color.0 == [0; 3] || inside.0 == [255], "an instance is part of the mask");
    }
    areas.remove(&[0; 3]);
    let mut areas: Vec<u64> = areas.into_values().collect();
    let mut expected: Vec<u64> = regions.iter().map(|region| region["area"].as_u64().unwrap()).collect();
    areas.sort_unstable();
    expected.sort_unstable();
    assert_eq!(areas, expected);
    assert!(!areas.is_empty());
}
