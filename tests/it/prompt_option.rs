//! `-p/--prompt`: every command takes its prompts by option as well as by position, and the other spellings of one thing.

use serde_json::Value;

use crate::sandbox::{Outcome, PROMPT, Sandbox};

/// The lines of `--json` without their times.
fn lines(outcome: &Outcome) -> Vec<Value> {
    outcome.assert_done();
    let mut lines = outcome.json();
    assert!(!lines.is_empty(), "{outcome:#?}");
    lines.iter_mut().for_each(|line| assert!(line["seconds"].take().is_object(), "{line}"));
    lines
}

/// Runs a command on the checkpoint `model` and returns its lines.
fn answers(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    let (command, rest) = arguments.split_first().expect("a command");
    lines(&sandbox.run(&[&[command, "--model", "model", "--json"], rest].concat()))
}

#[test]
fn localize_takes_its_prompt_in_any_place() {
    let sandbox = Sandbox::new();
    let by_position = answers(&sandbox, &["localize", PROMPT, "wide.png", "tall.png"]);
    assert_eq!(by_position.len(), 2);
    for arguments in [
        &["localize", "-p", PROMPT, "wide.png", "tall.png"][..],
        &["localize", "wide.png", "tall.png", "--prompt", PROMPT],
        &["localize", "wide.png", "-p", PROMPT, "tall.png"],
        &["localize", "--prompt", PROMPT, "--", "wide.png", "tall.png"],
    ] {
        assert_eq!(answers(&sandbox, arguments), by_position, "{arguments:?}");
    }
}

#[test]
fn compare_and_report_take_their_prompts_in_any_place() {
    let sandbox = Sandbox::new();
    for command in ["compare", "report"] {
        let by_position = answers(&sandbox, &[command, "wide.png", "red", "blue"]);
        for arguments in [
            &[command, "wide.png", "-p", "red", "-p", "blue"][..],
            &[command, "--prompt", "red", "--prompt", "blue", "wide.png"],
        ] {
            assert_eq!(answers(&sandbox, arguments), by_position, "{arguments:?}");
        }
    }
    sandbox.write("list.txt", "red\nblue\ngreen\n");
    let with_list = answers(&sandbox, &["compare", "wide.png", "-p", "red", "--concepts", "list.txt"]);
    assert_eq!(with_list[0]["ranking"].as_array().map(Vec::len), Some(3));
}

#[test]
fn batch_takes_prompts_and_lists_by_option() {
    let sandbox = Sandbox::new();
    sandbox.write("list.txt", "red\nblue\n");
    let prompts = |arguments: &[&str]| {
        let run = [&["batch"], arguments, &["--model", "model", "--output", "out"]].concat();
        sandbox.run(&run).assert_done();
        let manifest = std::fs::read(sandbox.path("out/run.json")).expect("a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("it is JSON");
        assert_eq!(manifest["inputs"].as_array().map(Vec::len), Some(2), "{arguments:?}");
        manifest["recipe"]["prompts"].clone()
    };
    let photos = ["wide.png", "tall.png"];
    let of = |options: &[&str]| prompts(&[options, &photos].concat());
    assert_eq!(of(&["list.txt"]), Value::from(vec!["red", "blue"]));
    assert_eq!(of(&["--prompts", "list.txt"]), Value::from(vec!["red", "blue"]));
    assert_eq!(of(&["-p", "green", "-p", "red"]), Value::from(vec!["green", "red"]));
    let both = of(&["-p", "blue", "--prompts", "list.txt"]);
    assert_eq!(both, Value::from(vec!["blue", "red"]), "none is given twice");
    assert_eq!(prompts(&["wide.png", "tall.png", "--prompts", "list.txt"]), Value::from(vec!["red", "blue"]));
}

#[test]
fn prompts_that_are_missing_or_given_twice_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("list.txt", "red\nblue\n");
    let refused = |arguments: &[&str], parts: &[&str]| {
        let outcome = sandbox.run(&[arguments, &["--model", "model"]].concat());
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{outcome:#?}");
        assert_eq!(outcome.errors().len(), 1, "{outcome:#?}");
        let usage = format!("Usage: fieldmark {}", arguments[0]);
        for part in parts.iter().chain([&usage.as_str()]) {
            assert!(outcome.stderr.contains(part), "{part:?} is missing: {outcome:#?}");
        }
    };
    refused(&["localize"], &["<PROMPT>", "<IMAGE>..."]);
    refused(&["localize", "wide.png"], &["<IMAGE>..."]);
    refused(&["localize", "-p", "red"], &["expected photos, found none"]);
    refused(
        &["localize", "red bird", "wide.png", "-p", "red"],
        &["found 'red bird'", "leave out the prompt"],
    );
    refused(&["localize", "wide.png", "-p", "red", "-p", "blue"], &["--prompt <PROMPT>", "multiple times"]);
    refused(&["compare", "wide.png"], &["<PROMPT>..."]);
    refused(&["compare", "-p", "red", "-p", "blue"], &["<IMAGE>"]);
    refused(&["compare", "wide.png", "red", "-p", "blue"], &["expected one photo", "'red'"]);
    refused(&["report", "wide.png", "red", "-p", "blue"], &["expected one photo", "'red'"]);
    refused(&["batch", "-p", "red"], &["expected photos, found none"]);
    refused(&["batch", "blackbirds", "wide.png", "--prompts", "list.txt"], &["found 'blackbirds'"]);
    refused(&["batch", "wide.png", "-p", "red", "--from", "run.json"], &["cannot be used with"]);
    refused(&["batch", "--from", "run.json", "--detail", "2"], &["cannot be used with"]);
    refused(&["batch", "--from", "run.json", "--layers", "-2..-1"], &["cannot be used with"]);
}

#[test]
fn a_photo_that_is_missing_beside_an_option_stops_nothing() {
    let sandbox = Sandbox::new();
    let outcome =
        sandbox.run(&["localize", "-p", "red", "gone.png", "wide.png", "--model", "model", "--json"]);
    assert_eq!((outcome.status, outcome.json().len()), (Some(1), 1), "{outcome:#?}");
    assert!(outcome.errors()[0].contains("gone.png"), "{outcome:#?}");
    assert!(outcome.hints()[0].contains("with --prompt"), "{outcome:#?}");
}

#[test]
fn layers_have_one_spelling_and_keep_the_earlier_ones() {
    let sandbox = Sandbox::new();
    let of = |options: &[&str]| answers(&sandbox, &[&["localize", "reed", "wide.png"], options].concat());
    assert_eq!(of(&["--layers", "-2"]), of(&["--layer", "-2"]));
    assert_eq!(of(&["--layers", "-2..-1"]), of(&["--layers", "-2..-1:mean"]));
    assert_eq!(of(&["--layers", "-2..-1:mean"]), of(&["--layers=-2,-1", "--layers-combine", "mean"]));
    let product = of(&["--layers", "-2..-1:product"]);
    assert_eq!(product, of(&["--layers", "-2..-1", "--layers-combine", "product"]));
    assert_eq!(product[0]["layers_combine"], "product");
    for (wrong, part) in
        [("-2..-1:max", "mean or product"), ("3..1", "expected blocks"), ("-9", "layer: expected")]
    {
        let outcome = sandbox.run(&["localize", "reed", "wide.png", "--model", "model", "--layers", wrong]);
        assert_eq!(outcome.status, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(part), "{outcome:#?}");
    }
}

#[test]
fn several_methods_have_one_spelling() {
    let sandbox = Sandbox::new();
    let of =
        |options: &[&str]| answers(&sandbox, &[&["compare", "wide.png", "red", "blue"], options].concat());
    assert_eq!(of(&["--method", "grad-cam,le-grad"]), of(&["--methods", "grad-cam,le-grad"]));
    assert_eq!(of(&["--method", "le-grad"]), of(&["--methods", "le-grad"]));
    let sandbox = Sandbox::new();
    for option in [&["--matrix"][..], &["--coco", "x.json"], &["--report", "x.html"], &["--save", "report"]] {
        let arguments =
            ["compare", "wide.png", "red", "blue", "--model", "model", "--method", "grad-cam,le-grad"];
        sandbox
            .run(&[&arguments[..], option].concat())
            .assert_refused(&[option[0], "expected one method, found 2"]);
        assert!(!sandbox.path("fieldmark-out").exists() && !sandbox.path("x.json").exists());
    }
}

#[test]
fn values_that_have_names_are_listed() {
    let sandbox = Sandbox::new();
    for (option, names) in [
        ("--refine", "[possible values: affinity, guided]"),
        (
            "--save",
            "[possible values: strip, overlay, layer, heatmap, map, full, mask, instances, csv, none]",
        ),
        ("--artifacts", "[possible values: keep, suppress]"),
        ("--aggregate", "[possible values: mean, weighted, softmax, logit]"),
        ("--fit", "[possible values: whole, squash, crop]"),
        ("--device", "[possible values: best, cpu, cuda, metal]"),
        ("--precision", "[possible values: auto, f32, bf16]"),
        ("--threshold", "peak:X with X from 0 to 1, otsu, or share:X"),
        ("--tiles", "a number of tiles above 0, auto or off"),
        ("--scale", "own, run or a number above 0"),
        ("--method", "[possible values: grad-cam, "),
    ] {
        let outcome = sandbox.run(&["localize", "reed", "wide.png", option, "nothing"]);
        assert_eq!(outcome.status, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(names), "{option}: {}", outcome.stderr);
    }
    let outcome = sandbox.run(&["localize", "reed", "wide.png", "--refine", "guide"]);
    assert!(outcome.stderr.contains("a similar value exists: 'guided'"), "{}", outcome.stderr);
    for (option, names) in [
        ("--ask", "[possible values: class, part, attribute]"),
        ("--place", "[possible values: finest, box]"),
        ("--layout", "[possible values: manifest, cub, folder, coco, open-images, funny-birds, voc]"),
        ("--fill", "[possible values: mean, black, blur, noise]"),
        ("--score", "[possible values: probability, logit, similarity]"),
        ("--faithfulness", "expected one of torch-cam, finer-cam, rise"),
        ("--phrase", "expected class=TEXT, part=TEXT or attribute=TEXT"),
        ("--metrics", "[possible values: localisation, "),
    ] {
        let outcome = sandbox.run(&["evaluate", "birds", option, "nothing"]);
        assert_eq!(outcome.status, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(names), "{option}: {}", outcome.stderr);
    }
}
