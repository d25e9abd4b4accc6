//! `fieldmark evaluate --output`: runs that are interrupted, resumed, split and joined give the same bytes.

use std::{process::Stdio, time::Duration};

use fieldmark::evaluate::RowsFile;
use serde_json::Value;

use crate::sandbox::{Outcome, Sandbox, files, wait};

/// A data set of so many small pictures, two questions each: `set/manifest.jsonl`.
fn sandbox(pictures: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut lines = Vec::new();
    for number in 0..pictures {
        let fixture = ["shapes-96x64.png", "shapes-50x83.png"][number % 2];
        sandbox.copy_photo(fixture, format!("set/{number:02}.png"));
        let image = format!("{number:02}.png");
        let x = 4 + number % 5;
        lines.push(serde_json::json!({"image": image, "prompt": "red square", "against": ["blue circle"],
                "box": [x, 5, 20, 18], "id": number}));
        lines.push(serde_json::json!({"image": image, "prompt": "a green stripe", "present": false}));
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    sandbox.write("set/manifest.jsonl", text);
    sandbox
}

const GRID: [&str; 6] =
    ["--strength", "0.3,0.6", "--method", "grad-cam,hires-cam", "--aggregate", "mean,softmax"];

fn evaluate(sandbox: &Sandbox, folder: &str, more: &[&str]) -> Outcome {
    let arguments = ["evaluate", "set", "--model", "model", "--output", folder];
    sandbox.run(&[&arguments[..], &GRID, more].concat())
}

fn assert_same_run(sandbox: &Sandbox, one: &str, other: &str) {
    let (one, other) = (files(&sandbox.path(one)), files(&sandbox.path(other)));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in one {
        assert!(other[&name] == bytes, "{name} differs");
    }
}

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path(path)).unwrap()).unwrap()
}

#[test]
fn a_run_leaves_rows_tables_and_plots() {
    let sandbox = sandbox(3);
    let outcome = evaluate(&sandbox, "out", &["--metrics", "localisation,deletion_auc", "--step", "0.5"]);
    outcome.assert_done();
    assert_eq!(
        sandbox.names("out"),
        [
            "failures.jsonl",
            "journal.jsonl",
            "plots",
            "rows.parquet",
            "run.json",
            "summary.json",
            "summary.md"
        ]
    );
    let plots = sandbox.names("out/plots");
    assert!(
        plots.contains(&"strength-pointing_game.svg".into()) && plots.contains(&"deletion.svg".into()),
        "{plots:?}"
    );
    let rows = RowsFile::open(&sandbox.path("out/rows.parquet")).unwrap();
    // Two methods; of each the plain map, two strengths of the mean, and the whole of the softmax.
    let settings: Vec<_> = rows
        .record()
        .settings
        .iter()
        .map(|one| (one.method.as_str(), one.strength, one.aggregate.as_str()))
        .collect();
    assert_eq!(
        settings[..4],
        [
            ("grad-cam", 0.0, "mean"),
            ("grad-cam", 0.3, "mean"),
            ("grad-cam", 0.6, "mean"),
            ("grad-cam", 1.0, "softmax")
        ]
    );
    assert_eq!(settings.len(), 8);
    let summary = json(&sandbox, "out/summary.json");
    assert_eq!((&summary["images"], &summary["lines"]), (&3.into(), &6.into()));
    let first = &summary["settings"][0];
    assert_eq!(first["metrics"]["deletion_auc"]["images"], 3);
    assert_eq!(first["curves"]["deletion"]["at"], serde_json::json!([0.0, 0.5, 1.0]));
    assert!(first["metrics"]["pointing_game"]["p_sign_flip"].as_f64().unwrap() <= 1.0);
    let page = std::fs::read_to_string(sandbox.path("out/summary.md")).unwrap();
    assert!(page.contains("## pointing game (higher is better)"), "{page}");
    assert!(page.contains("## deletion AUC (lower is better)"), "{page}");
    // What is printed without --output is the same.
    let printed = sandbox.run(&[&["evaluate", "set", "--model", "model", "--json"], &GRID[..]].concat());
    let energy = |result: &Value| result["settings"][1]["metrics"]["energy_pointing"].clone();
    assert_eq!(energy(&printed.json()[0]), energy(&summary));
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bytes() {
    let sandbox = sandbox(12);
    evaluate(&sandbox, "whole", &[]).assert_done();
    let arguments = ["evaluate", "set", "--model", "model", "--output", "out"];
    let mut command = sandbox.command();
    let command = command.args(arguments).args(GRID).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let journal = sandbox.path("out/journal.jsonl");
    let lines = || std::fs::read_to_string(&journal).unwrap_or_default().lines().count();
    while lines() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: the program has no chance to clean up.
    child.kill().unwrap();
    wait(&mut child);
    let kept = std::fs::read_to_string(&journal).unwrap();
    assert!((3..12).contains(&lines()), "it was killed in the middle, after {} pictures", lines());
    assert!(!sandbox.path("out/rows.parquet").exists());
    evaluate(&sandbox, "out", &["--resume"]).assert_done();
    assert_same_run(&sandbox, "out", "whole");
    assert!(std::fs::read_to_string(&journal).unwrap().starts_with(&kept), "what was done is not done again");
}

#[test]
fn a_journal_that_ends_anywhere_is_gone_on_with() {
    let sandbox = sandbox(3);
    evaluate(&sandbox, "whole", &[]).assert_done();
    let journal = std::fs::read(sandbox.path("whole/journal.jsonl")).unwrap();
    let first = journal.iter().position(|byte| *byte == b'\n').unwrap();
    // Nothing, a torn first line, one without its end, whole lines, a torn last line, and all with the files made.
    for length in [0, 7, first, first + 1, journal.len() - 9, journal.len()] {
        std::fs::create_dir_all(sandbox.path("out")).unwrap();
        sandbox.write("out/run.json", std::fs::read(sandbox.path("whole/run.json")).unwrap());
        sandbox.write("out/journal.jsonl", &journal[..length]);
        sandbox.write("out/.fieldmark-abc.part", "half");
        sandbox.write("out/rows.parquet", "half");
        evaluate(&sandbox, "out", &["--resume"]).assert_done();
        assert_same_run(&sandbox, "out", "whole");
    }
}

#[test]
fn a_run_with_other_options_is_not_resumed() {
    let sandbox = sandbox(1);
    evaluate(&sandbox, "out", &[]).assert_done();
    let before = files(&sandbox.path("out"));
    let refused = |more: &[&str], parts: &[&str]| {
        evaluate(&sandbox, "out", &[more, &["--resume"]].concat())
            .assert_refused(&[&["run.json"], parts].concat());
        assert!(files(&sandbox.path("out")) == before, "nothing was touched");
    };
    refused(&["--fit", "crop"], &["fit", "crop", "whole"]);
    refused(&["--layer", "-2"], &["settings[0].layer", "-2", "-1"]);
    refused(&["--metrics", "best_iou"], &["metrics", "pointing_game"]);
    refused(&["--shard", "0/2"], &["shard", "0/2", "null"]);
    sandbox.change_json("config.json", "/vision_config/layer_norm_eps", 1e-4);
    refused(&[], &["model_sha256"]);
    let outcome = evaluate(&sandbox, "out", &[]);
    assert!(outcome.notes()[0].contains("--resume"), "the note names what is replaced: {outcome:#?}");
}

#[test]
fn pictures_that_cannot_be_read_are_listed_and_tried_again() {
    let sandbox = sandbox(3);
    evaluate(&sandbox, "whole", &[]).assert_done();
    let picture = std::fs::read(sandbox.path("set/01.png")).unwrap();
    sandbox.write("set/01.png", "no picture");
    for more in [&[][..], &["--resume"]] {
        let outcome = evaluate(&sandbox, "out", more);
        assert_eq!((outcome.status, outcome.errors().len()), (Some(1), 1), "{outcome:#?}");
        let failures = std::fs::read_to_string(sandbox.path("out/failures.jsonl")).unwrap();
        let failure: Value = serde_json::from_str(&failures).unwrap();
        assert_eq!((&failure["image"], &failure["lines"]), (&"01.png".into(), &serde_json::json!([3, 4])));
        let summary = json(&sandbox, "out/summary.json");
        assert_eq!((&summary["images"], &summary["failed"][0]), (&2.into(), &failure));
    }
    sandbox.write("set/01.png", picture);
    evaluate(&sandbox, "out", &["--resume"]).assert_done();
    assert_same_run(&sandbox, "out", "whole");
}

#[test]
fn parts_are_joined_to_the_bytes_of_one_run() {
    let sandbox = sandbox(5);
    sandbox.write("set/03.png", "no picture");
    assert_eq!(evaluate(&sandbox, "whole", &[]).status, Some(1));
    for part in ["0", "1", "2"] {
        let outcome = evaluate(&sandbox, &format!("part-{part}"), &["--shard", &format!("{part}/3")]);
        assert_eq!(outcome.status, Some(if part == "0" { 1 } else { 0 }), "{outcome:#?}");
    }
    let merge =
        |parts: &[&str]| sandbox.run(&[&["evaluate", "--output", "merged", "--merge"], parts].concat());
    // In any order.
    let outcome = merge(&["part-2", "part-0", "part-1"]);
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    assert_same_run(&sandbox, "merged", "whole");
    merge(&["part-0", "part-2"]).assert_refused(&["part 1/3 is missing"]);
    merge(&["part-0", "part-1", "part-2", "part-1"]).assert_refused(&["part-1", "part 1/3", "twice"]);
    merge(&["whole"]).assert_refused(&["whole", "expected a part"]);
    merge(&["part-9"]).assert_refused(&["part-9"]);
    evaluate(&sandbox, "other", &["--shard", "1/3", "--fit", "crop"]).assert_done();
    merge(&["part-0", "other", "part-2"]).assert_refused(&["other", "fit", "crop", "part-0"]);
    evaluate(&sandbox, "quarter", &["--shard", "1/4"]).assert_done();
    merge(&["part-0", "quarter", "part-2"]).assert_refused(&["quarter", "one of 3 parts", "1/4"]);
    // A part that was interrupted.
    let path = sandbox.path("part-1/journal.jsonl");
    let journal = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &journal[..journal.len() - 5]).unwrap();
    merge(&["part-0", "part-1", "part-2"]).assert_refused(&["part-1", "1 of them missing"]);
    let outcome = evaluate(&sandbox, "bad", &["--shard", "4/3"]);
    assert!(outcome.status == Some(2) && outcome.stderr.contains("4/3"), "{outcome:#?}");
    let outcome = sandbox.run(&["evaluate", "--merge", "part-0"]);
    assert!(outcome.status == Some(2) && outcome.stderr.contains("--output"), "{outcome:#?}");
}

#[test]
fn rivals_are_found_among_concepts() {
    let sandbox = sandbox(2);
    sandbox.write("shapes.txt", "red square\nblue circle\ngreen stripe\n");
    let found = |by: &str| {
        let more = [
            "--concepts",
            "shapes.txt",
            "--nearest",
            "1",
            "--by",
            by,
            "--synonym-threshold",
            "1",
            "--rows",
            "rows.jsonl",
        ];
        evaluate(&sandbox, "out", &more).assert_done();
        let rows = std::fs::read_to_string(sandbox.path("rows.jsonl")).unwrap();
        let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
        row["against"].as_array().unwrap().clone()
    };
    for by in ["text", "image"] {
        let rivals = found(by);
        assert_eq!(rivals.len(), 1);
        assert_ne!(rivals[0], "red square");
    }
    assert_eq!(json(&sandbox, "out/run.json")["rivals"]["by"], "image");
    evaluate(&sandbox, "out", &["--concepts", "classes"]).assert_refused(&["--concepts classes", "manifest"]);
}

#[test]
fn a_folder_of_classes_needs_no_preparation() {
    let sandbox = Sandbox::new();
    for (class, fixture) in [("red square", "shapes-96x64.png"), ("blue circle", "shapes-50x83.png")] {
        sandbox.copy_photo(fixture, format!("set/{class}/one.png"));
    }
    let more = ["--concepts", "classes", "--metrics", "localisation,faithfulness,sanity", "--step", "0.5"];
    let arguments = ["evaluate", "set", "--model", "model", "--output", "out", "--json"];
    let outcome = sandbox.run(&[&arguments[..], &more].concat());
    outcome.assert_done();
    let result = &outcome.json()[0];
    assert_eq!((&result["images"], &result["with_rivals"]), (&2.into(), &2.into()));
    let metrics = &result["settings"][0]["metrics"];
    // Where nothing is known of the place, the model can still be asked.
    assert!(metrics["pointing_game"].is_null() && metrics["average_drop"].is_object(), "{metrics}");
    assert!(metrics["gibberish_rank"].is_object(), "{metrics}");
}

#[test]
fn a_manifests_other_prompts_are_the_other_concepts_of_sanity() {
    let sandbox = Sandbox::new();
    sandbox.copy_photo("shapes-96x64.png", "set/one.png");
    let line =
        |prompt: &str| serde_json::json!({"image": "one.png", "prompt": prompt, "box": [2, 5, 20, 18]});
    sandbox.write("set/manifest.jsonl", format!("{}\n{}\n", line("a red square"), line("a green stripe")));
    let other = |set: &str| {
        let outcome =
            sandbox.run(&["evaluate", set, "--model", "model", "--json", "--metrics", "other_concept_rank"]);
        outcome.assert_done();
        outcome.json()[0]["settings"][0]["metrics"]["other_concept_rank"].clone()
    };
    assert_eq!(other("set")["lines"], 2);
    sandbox.write("set/alone.jsonl", format!("{}\n", line("a red square")));
    assert!(other("set/alone.jsonl").is_null(), "there is no other prompt");
}
