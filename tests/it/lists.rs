//! The program with lists of concepts: `prompts`, `localize --concepts`, `compare --concepts`, and several strengths.

use serde_json::Value;

use crate::sandbox::{Outcome, Sandbox, read_npy};

const MARSH: &str =
    "[bird]\nred-winged blackbird = redwing\nrusty blackbird\nmarsh wren\n[]\nreed\ncattail\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("marsh.txt", MARSH);
    sandbox
}

fn prompts(scores: &Value) -> Vec<&str> {
    scores.as_array().unwrap().iter().map(|score| score["prompt"].as_str().unwrap()).collect()
}

fn compare(sandbox: &Sandbox, arguments: &[&str]) -> Outcome {
    sandbox.run(&[&["compare", "wide.png", "--model", "model"], arguments].concat())
}

#[test]
fn prompts_lists_what_ships() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.run(&["prompts"]);
    outcome.assert_done();
    for part in
        ["cub-birds", "200", "imagenet", "1000", "openai-80", "80", "a photo of a {}, a type of bird."]
    {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    let lines = sandbox.run(&["prompts", "--json"]).json();
    let birds = lines.iter().find(|line| line["list"] == "cub-birds").unwrap();
    assert_eq!(
        (&birds["count"], &birds["templates"][0]),
        (&200.into(), &"a photo of a {}, a type of bird.".into())
    );
    assert!(
        birds["groups"].as_u64() > Some(20) && birds["example"].is_string() && birds["about"].is_string()
    );
    let eighty = lines.iter().find(|line| line["template"] == "openai-80").unwrap();
    assert_eq!(eighty["texts"].as_array().map(Vec::len), Some(80));
}

#[test]
fn prompts_shows_a_list_that_reads_back() {
    let sandbox = sandbox();
    for name in ["birds", "dogs", "marsh.txt"] {
        let shown = sandbox.run(&["prompts", name]);
        shown.assert_done();
        sandbox.write("copy.txt", &shown.stdout);
        assert_eq!(sandbox.run(&["prompts", "copy.txt"]).stdout, shown.stdout);
        let lines = sandbox.run(&["prompts", "copy.txt", "--json"]).json();
        assert_eq!(lines, sandbox.run(&["prompts", name, "--json"]).json());
    }
    let lines = sandbox.run(&["prompts", "marsh.txt", "--json"]).json();
    let first =
        serde_json::json!({"concept": "red-winged blackbird", "synonyms": ["redwing"], "groups": ["bird"]});
    assert_eq!((lines.len(), &lines[0]), (5, &first));
    assert_eq!(sandbox.run(&["prompts", "photo"]).stdout, "a photo of a {}.\n");
}

#[test]
fn a_wrong_list_is_reported_with_its_line() {
    let sandbox = Sandbox::new();
    sandbox.write("twice.txt", "reed\nmarsh\n\nReed\n");
    sandbox.write("large.txt", vec![b'a'; 5 << 20]);
    let with = |list: &str| sandbox.localize("crow", &["wide.png", "--concepts", list]);
    with("twice.txt").assert_refused(&["twice.txt: line 4: \"Reed\" is given already, in line 1"]);
    with("large.txt").assert_refused(&["large.txt", "expected at most 4194304 bytes"]);
    let unknown = with("brids");
    unknown.assert_refused(&["expected a file or one of cub-birds,", "found \"brids\""]);
    assert!(unknown.hints()[0].contains("fieldmark prompts"), "{unknown:#?}");
    sandbox.run(&["prompts", "brids"]).assert_refused(&["found \"brids\""]);
    sandbox
        .localize("crow", &["wide.png", "--template", "foto"])
        .assert_refused(&["photo", "found \"foto\""]);
}

#[test]
fn rivals_say_why_they_were_chosen() {
    let sandbox = sandbox();
    for by in ["text", "image"] {
        let arguments = ["wide.png", "--concepts", "marsh.txt", "--nearest", "2", "--by", by];
        let found = sandbox.found("redwing", &[&arguments[..], &["--synonym-threshold", "1"]].concat());
        let rivals = found["against"].as_array().unwrap();
        assert_eq!(rivals.len(), 2);
        for (place, rival) in rivals.iter().enumerate() {
            assert_eq!((&rival["chosen"]["by"], &rival["chosen"]["rank"]), (&by.into(), &(place + 1).into()));
            assert!(rival["chosen"]["similarity"].as_f64().is_some_and(|cosine| cosine.abs() <= 1.0));
            assert!(
                !["redwing", "red-winged blackbird", "bird"].contains(&rival["prompt"].as_str().unwrap())
            );
        }
    }
    let group = sandbox.found("redwing", &["wide.png", "--concepts", "marsh.txt", "--by", "group"]);
    assert_eq!(prompts(&group["against"]), ["bird"]);
    let outcome = sandbox.localize("redwing", &["wide.png", "--concepts", "marsh.txt", "--by", "group"]);
    assert!(outcome.stdout.contains("chosen by") && outcome.stdout.contains("group, text"), "{outcome:#?}");
}

#[test]
fn every_photo_of_a_run_has_its_own_rivals() {
    let sandbox = sandbox();
    let both = ["--concepts", "marsh.txt", "--by", "image", "--nearest", "1", "--synonym-threshold", "1"];
    let run = sandbox.localize("crow", &[&["wide.png", "tall.png", "--json"], &both[..]].concat());
    run.assert_done();
    for (photo, line) in ["wide.png", "tall.png"].into_iter().zip(run.json()) {
        let ranked =
            ["compare", photo, "--concepts", "marsh.txt", "--model", "model", "--json", "--save", "none"];
        let ranking = sandbox.run(&ranked).json().remove(0);
        assert_eq!(line["against"][0]["prompt"], ranking["ranking"][0]["prompt"], "{photo}");
    }
}

#[test]
fn options_of_rivals_need_a_list_and_sound_values() {
    let sandbox = sandbox();
    for options in [&["--by", "image"][..], &["--synonym-threshold", "0.9"], &["--nearest", "2"]] {
        let outcome = sandbox.localize("crow", &[&["wide.png"], options].concat());
        assert_eq!(outcome.status, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains("--concepts"), "{outcome:#?}");
    }
    let with = |options: &[&str]| {
        sandbox.localize("crow", &[&["wide.png", "--concepts", "marsh.txt"], options].concat())
    };
    with(&["--synonym-threshold", "1.5"]).assert_refused(&["synonym threshold", "from -1 to 1, found 1.5"]);
    with(&["--by", "group"]).assert_refused(&["expected a group that \"crow\" belongs to, found none"]);
    assert_eq!(with(&["--by", "size"]).status, Some(2));
}

#[test]
fn several_strengths_are_lines_of_their_own_and_one_strip() {
    let sandbox = Sandbox::new();
    let rivals = ["--against", "reed", "--against", "marsh"];
    let run =
        |arguments: &[&str]| sandbox.localize("crow", &[&["wide.png"], &rivals[..], arguments].concat());
    let outcome = run(&["--strength", "0,0.3,1", "--json", "--save", "strip,map"]);
    outcome.assert_done();
    let lines = outcome.json();
    for (line, strength) in lines.iter().zip(["0", "0.3", "1"]) {
        assert_eq!(line["strength"].to_string().parse::<f64>().ok(), strength.parse().ok());
        assert_eq!(line["files"]["strip"], "fieldmark-out/wide.crow.strip.png");
        let map = format!("fieldmark-out/wide.crow.strength-{strength}.map.npy");
        assert_eq!(line["files"]["map"], map.as_str());
        let alone = run(&["--strength", strength, "--json", "--save", "map"]).json().remove(0);
        let values = |file: &Value| read_npy(&sandbox.path(file.as_str().unwrap())).2;
        let pairs = values(&line["files"]["map"]).into_iter().zip(values(&alone["files"]["map"]));
        pairs.for_each(|(one, other)| assert!((one - other).abs() <= 1e-5 * one.abs().max(1.0)));
    }
    let strip = image::open(sandbox.path("fieldmark-out/wide.crow.strip.png")).unwrap().into_rgb8();
    assert!(strip.width() > 2 * strip.height(), "{:?}", strip.dimensions());
}

#[test]
fn people_see_all_strengths_in_one_table() {
    let sandbox = Sandbox::new();
    let outcome = sandbox.localize("crow", &["wide.png", "--against", "reed", "--strength", "0,0.6"]);
    outcome.assert_done();
    for part in ["strength", "0.6", "objective", "against reed", "wide.crow.strip.png"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    assert_eq!(sandbox.names("fieldmark-out"), ["wide.crow.strip.png"]);
    let refused = |strengths| sandbox.localize("crow", &["wide.png", "--strength", strengths]);
    refused("0.6,0.6").assert_refused(&["strength: 0.6 is given twice"]);
    refused("0,-1").assert_refused(&["strength", "found -1"]);
    assert_eq!(refused("0,").status, Some(2));
}

#[test]
fn a_whole_list_is_ranked_and_the_best_are_mapped() {
    let sandbox = sandbox();
    let outcome =
        compare(&sandbox, &["redwing", "--concepts", "marsh.txt", "--top", "2", "--matrix", "--json"]);
    outcome.assert_done();
    let line = outcome.json().remove(0);
    assert_eq!(line["ranking"].as_array().map(Vec::len), Some(5), "the redwing competes once: {line}");
    assert_eq!(line["prompts"].as_array().map(Vec::len), Some(3));
    assert_eq!(line["prompts"][0]["prompt"], "redwing");
    let others: Vec<_> =
        prompts(&line["ranking"]).into_iter().filter(|prompt| *prompt != "redwing").collect();
    assert_eq!(prompts(&line["prompts"])[1..], others[..2]);
    let matrix = line["matrix"].as_array().unwrap();
    assert_eq!(matrix.len(), 6);
    for pair in matrix {
        let mirrored = matrix
            .iter()
            .find(|other| other["prompt"] == pair["against"] && other["against"] == pair["prompt"]);
        let sum = pair["difference"].as_f64().unwrap() + mirrored.unwrap()["difference"].as_f64().unwrap();
        assert!(sum.abs() < 1e-9);
        assert_eq!(pair["positive"].as_f64() > Some(0.0), pair["peak"].is_object());
    }
    assert_eq!(line["files"]["matrix"], "fieldmark-out/wide.matrix.png");
    assert_eq!(sandbox.names("fieldmark-out"), ["wide.matrix.png", "wide.sheet.png"]);
}

#[test]
fn people_read_a_ranking_and_a_matrix() {
    let sandbox = sandbox();
    let outcome = compare(&sandbox, &["--concepts", "marsh.txt", "--top", "2", "--matrix"]);
    outcome.assert_done();
    for part in ["rank", "cattail", "against", "by logits", "wide.matrix.png"] {
        assert!(outcome.stdout.contains(part), "{part}: {}", outcome.stdout);
    }
    let many: Vec<String> = (0..70).map(|number| format!("bird {number}\n")).collect();
    sandbox.write("many.txt", many.concat());
    let outcome = compare(&sandbox, &["--concepts", "many.txt", "--top", "70", "--matrix"]);
    outcome.assert_refused(&["matrix", "at most 64", "found 70"]);
    let nothing = compare(&sandbox, &[]);
    assert!(nothing.status == Some(2) && nothing.stderr.contains("<PROMPT>"), "{nothing:#?}");
}
