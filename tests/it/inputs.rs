//! Which files are photos, and what happens to names and photos that are unusual.

use std::{
    fs::File,
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::sandbox::{PROMPT, Sandbox, wait};

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
    let manifest = read_json(&sandbox.path("out/run.json"));
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

/// A folder `photos` with `a.png` and `b.png`, and the list `prompts.txt`.
fn batch_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    sandbox.copy_photo("shapes-96x64.png", "photos/a.png");
    sandbox.copy_photo("shapes-50x83.png", "photos/b.png");
    sandbox
}

const BATCH: [&str; 7] = ["batch", "prompts.txt", "photos", "--model", "model", "--output", "out"];

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// What a command that reads a file as its standard input prints.
fn with_input(sandbox: &Sandbox, input: &str, arguments: &[&str]) -> Output {
    let mut command = sandbox.command();
    command.args(arguments).stdin(File::open(sandbox.path(input)).unwrap());
    command.output().unwrap()
}

#[test]
fn a_photo_is_read_from_standard_input() {
    let sandbox = Sandbox::new();
    let arguments = ["--model", "model", "--json", "--save", "overlay"];
    let output = with_input(&sandbox, "wide.png", &[&["localize", PROMPT, "-"][..], &arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut expected = sandbox.found(PROMPT, &["wide.png", "--save", "overlay"]);
    assert_eq!(found["image"], "-");
    assert!(found["files"]["overlay"].as_str().unwrap().contains("/stdin."), "{found}");
    for field in ["image", "files", "seconds"] {
        found[field].take();
        expected[field].take();
    }
    assert_eq!(found, expected);

    for command in ["compare", "report"] {
        let arguments = [command, "-", "red square", "blue circle", "--model", "model"];
        assert!(with_input(&sandbox, "tall.png", &arguments).status.success(), "{command}");
    }
    assert!(sandbox.path("fieldmark-out/stdin.report.html").is_file());

    let refused = |arguments: &[&str], reason: &str| {
        let output = with_input(&sandbox, "wide.png", arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && stderr.contains(reason), "{stderr}");
    };
    refused(&["localize", PROMPT, "-", "-", "--model", "model"], "expected standard input once");
    refused(
        &["batch", "birds", "-", "--model", "model"],
        "expected files and directories, found standard input",
    );
    refused(&["evaluate", "-", "--model", "model"], "found standard input");
    sandbox.write("empty", "");
    let output = with_input(&sandbox, "empty", &["localize", PROMPT, "-", "--model", "model"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_web_address_is_refused_with_a_hint() {
    let sandbox = Sandbox::new();
    for address in ["https://example.org/photo.jpg", "s3://bucket/photo.jpg"] {
        let outcome = sandbox.localize(PROMPT, &[address]);
        outcome.assert_refused(&[address, "expected a file, found a web address"]);
        assert!(outcome.hints()[0].contains("download"), "{outcome:#?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_lose_nothing() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let sandbox = batch_sandbox();
    let photos = sandbox.path("photos");
    for (old, new) in [("a.png", &b"caf\xe8.png"[..]), ("b.png", b"caf\xe9.png")] {
        std::fs::rename(photos.join(old), photos.join(OsStr::from_bytes(new))).unwrap();
    }
    sandbox.run(&BATCH).assert_done();
    let manifest = read_json(&sandbox.path("out/run.json"));
    let names: Vec<_> = manifest["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| input["image_bytes"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["photos/caf%E8.png", "photos/caf%E9.png"]);
    assert_eq!(manifest["inputs"][0]["image"], "photos/caf\u{fffd}.png");
    let outputs: Vec<_> = manifest["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| sandbox.path("out").join(name.as_str().unwrap()))
        .collect();
    assert_eq!(outputs.iter().collect::<std::collections::HashSet<_>>().len(), outputs.len());
    assert!(outputs.iter().all(|path| path.is_file()));

    // A run goes on with both, and is made again from paths that are not UTF-8.
    let before = std::fs::read(sandbox.path("out/results.jsonl")).unwrap();
    sandbox.run(&[&BATCH[..], &["--resume"]].concat()).assert_done();
    assert_eq!(std::fs::read(sandbox.path("out/results.jsonl")).unwrap(), before);
    let one = photos.join(OsStr::from_bytes(b"caf\xe9.png"));
    let mut command = sandbox.command();
    command.args(["batch", "prompts.txt", "--model", "model", "--output", "one"]).arg(&one);
    sandbox.finish(&mut command).assert_done();
    sandbox.run(&["batch", "--from", "one/run.json", "--output", "again"]).assert_done();
    assert_eq!(
        read_json(&sandbox.path("again/run.json"))["recipe"]["images_bytes"].as_array().unwrap().len(),
        1
    );

    let mut command = sandbox.command();
    let folder = sandbox.path(OsStr::from_bytes(b"out\xff"));
    command.args(["localize", PROMPT, "--model", "model", "--json", "--coco", "all.json", "--output"]);
    let outcome = sandbox.finish(command.arg(&folder).arg(&one));
    outcome.assert_done();
    let found = &outcome.json()[0];
    assert!(found["image_bytes"].as_str().unwrap().ends_with("photos/caf%E9.png"), "{found}");
    assert!(found["files_bytes"]["overlay"].as_str().unwrap().contains("out%FF/"), "{found}");
    assert!(read_json(&sandbox.path("all.json"))["images"][0]["file_name_bytes"].is_string());
    let list = sandbox.path(OsStr::from_bytes(b"list\xe9.txt"));
    std::fs::copy(sandbox.path("prompts.txt"), &list).unwrap();
    sandbox.finish(sandbox.command().arg("prompts").arg(&list)).assert_done();
    let mut command = sandbox.command();
    command.arg("batch").arg(&list).args(["photos", "--model", "model", "--output", "listed"]);
    sandbox.finish(&mut command).assert_done();
}

/// A command with arguments of any bytes, in a folder where nothing is UTF-8.
#[cfg(target_os = "linux")]
fn run_bytes(sandbox: &Sandbox, arguments: &[&[u8]]) -> crate::sandbox::Outcome {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    sandbox.finish(sandbox.command().args(arguments.iter().map(|bytes| OsStr::from_bytes(bytes))))
}

#[cfg(target_os = "linux")]
#[test]
fn every_command_takes_a_checkpoint_whose_name_is_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let sandbox = batch_sandbox();
    let model = sandbox.path(OsStr::from_bytes(b"mod\xe8le"));
    std::fs::rename(sandbox.path("model"), &model).unwrap();
    let line = json!({"image": "../photos/a.png", "prompt": "red square", "box": [4, 5, 20, 18]});
    sandbox.write("set/manifest.jsonl", line.to_string());
    let run = |arguments: &[&[u8]]| {
        let outcome = run_bytes(&sandbox, &[arguments, &[b"--model", b"./mod\xe8le"]].concat());
        outcome.assert_done();
        outcome
    };
    let named = |record: &Value| {
        assert_eq!(record["model"], "./mod\u{fffd}le", "{record}");
        assert_eq!(record["model_bytes"], "./mod%E8le", "{record}");
    };
    named(&run(&[b"localize", b"red square", b"photos/a.png", b"--json"]).json()[0]);
    named(&run(&[b"compare", b"photos/a.png", b"red", b"blue", b"--json"]).json()[0]);
    named(&run(&[b"report", b"photos/a.png", b"red", b"blue", b"--json"]).json()[0]);
    run(&[b"batch", b"prompts.txt", b"photos", b"--output", b"out"]);
    run(&[b"batch", b"prompts.txt", b"photos", b"--output", b"out", b"--resume"]);
    named(&read_json(&sandbox.path("out/run.json"))["recipe"]);
    sandbox.run(&["batch", "--from", "out/run.json", "--output", "again"]).assert_done();
    named(&run(&[b"evaluate", b"set", b"--json", b"--output", b"measured"]).json()[0]);
    named(&read_json(&sandbox.path("measured/run.json")));
    run(&[b"evaluate", b"set", b"--output", b"measured", b"--resume"]);
    let inspected = run_bytes(&sandbox, &[b"models", b"--json", b"mod\xe8le/"]);
    inspected.assert_done();
    assert_eq!(inspected.json()[0]["directory_bytes"], "mod%E8le/");
    let scheme = [b"local-dir:", model.as_os_str().as_bytes()].concat();
    run_bytes(&sandbox, &[b"localize", b"red", b"photos/a.png", b"--model", &scheme]).assert_done();
    run_bytes(&sandbox, &[b"download", b"mod\xe8le"]).assert_refused(&["mod\u{fffd}le", "local path"]);
    run_bytes(&sandbox, &[b"localize", b"red", b"photos/a.png", b"--model", b"\xff"])
        .assert_refused(&["\u{fffd}", "no such directory"]);
    // A file of weights.
    std::fs::rename(model.join("model.safetensors"), model.join(OsStr::from_bytes(b"\xe9.safetensors")))
        .unwrap();
    let weights: &[u8] = b"mod\xe8le/\xe9.safetensors";
    run_bytes(&sandbox, &[b"models", weights]).assert_done();
    let batch: [&[u8]; 7] =
        [b"batch", b"prompts.txt", b"photos", b"--output", b"weights", b"--model", weights];
    run_bytes(&sandbox, &batch).assert_done();
}

#[cfg(target_os = "linux")]
#[test]
fn every_option_takes_a_file_whose_name_is_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let sandbox = batch_sandbox();
    let line = json!({"image": "../photos/a.png", "prompt": "red square", "box": [4, 5, 20, 18]});
    sandbox.write(OsStr::from_bytes(b"\xe9t\xe9/manifest.jsonl"), line.to_string());
    let run = |arguments: &[&[u8]]| {
        let outcome = run_bytes(&sandbox, &[arguments, &[b"--model", b"model"]].concat());
        outcome.assert_done();
        outcome
    };
    let file = |name: &[u8]| std::fs::metadata(sandbox.path(OsStr::from_bytes(name))).unwrap().len();
    let outcome = run(&[
        b"localize",
        b"red",
        b"photos/a.png",
        b"--json",
        b"--coco",
        b"\xc0.json",
        b"--report",
        b"p\xc0/\xc1.html",
    ]);
    assert!(file(b"\xc0.json") > 0 && file(b"p\xc0/\xc1.html") > 0);
    assert_eq!(outcome.json()[0]["files_bytes"]["report"], "p%C0/%C1.html");
    run(&[b"compare", b"photos/a.png", b"red", b"blue", b"--coco", b"\xc2.json", b"--output", b"o\xc2"]);
    assert!(file(b"\xc2.json") > 0);
    run(&[b"localize", b"red", b"photos/a.png", b"--concepts", b"prompts.txt"]);
    std::fs::rename(sandbox.path("prompts.txt"), sandbox.path(OsStr::from_bytes(b"\xe9.txt"))).unwrap();
    run(&[b"localize", b"red", b"photos/a.png", b"--concepts", b"\xe9.txt"]);
    let outcome = run(&[
        b"evaluate",
        b"\xe9t\xe9",
        b"--json",
        b"--rows",
        b"r\xe9.jsonl",
        b"--output",
        b"o\xe9",
        b"--concepts",
        b"\xe9.txt",
    ]);
    let summary = &outcome.json()[0];
    assert_eq!(summary["dataset"], "\u{fffd}t\u{fffd}/manifest.jsonl");
    assert_eq!(summary["dataset_bytes"], "%E9t%E9/manifest.jsonl");
    assert!(file(b"r\xe9.jsonl") > 0);
    run(&[b"evaluate", b"\xe9t\xe9", b"--output", b"o\xe9", b"--concepts", b"\xe9.txt", b"--resume"]);
    let part: [&[u8]; 6] = [b"evaluate", b"\xe9t\xe9", b"--shard", b"0/1", b"--output", b"part\xe9"];
    run(&part);
    run_bytes(&sandbox, &[b"evaluate", b"--merge", b"part\xe9", b"--output", b"all\xe9"]).assert_done();
    assert!(file(b"all\xe9/summary.json") > 0);
    run(&[b"batch", b"\xe9.txt", b"photos", b"--output", b"b\xe9"]);
    run_bytes(&sandbox, &[b"batch", b"--from", b"b\xe9/run.json", b"--output", b"c\xe9"]).assert_done();
    assert!(file(b"c\xe9/index.html") > 0);
    // The cache of texts, and that of the Hub.
    let mut command = sandbox.command();
    command.env("FIELDMARK_CACHE", sandbox.path(OsStr::from_bytes(b"cache\xe9")));
    command.env("HF_HOME", sandbox.path(OsStr::from_bytes(b"hub\xe9")));
    command.args(["localize", "red", "photos/a.png", "--model", "model"]);
    sandbox.finish(&mut command).assert_done();
    assert!(sandbox.path(OsStr::from_bytes(b"cache\xe9/texts")).is_dir());
}

#[cfg(unix)]
#[test]
fn unusual_names_have_results_of_their_own() {
    let sandbox = batch_sandbox();
    let long = format!("{}.png", "é".repeat(120));
    let names = ["a\nb.png", "a\tb.png", "-x.png", "it's \"x\".png", "100%#?.png", "<b>&.png", &long];
    for name in names {
        sandbox.copy_photo("shapes-96x64.png", format!("photos/{name}"));
    }
    let outcome = sandbox.run(&BATCH);
    outcome.assert_done();
    let manifest = read_json(&sandbox.path("out/run.json"));
    let images: Vec<_> =
        manifest["inputs"].as_array().unwrap().iter().map(|input| input["image"].as_str().unwrap()).collect();
    for name in names {
        assert!(images.contains(&format!("photos/{name}").as_str()), "{name}");
    }
    let outputs = manifest["outputs"].as_array().unwrap();
    assert!(outputs.iter().all(|name| sandbox.path("out").join(name.as_str().unwrap()).is_file()));
    let mut command = sandbox.command();
    command.current_dir(sandbox.path("photos"));
    command.args(["localize", PROMPT, "--model", "../model", "--json", "--", "-x.png"]);
    sandbox.finish(&mut command).assert_done();
}

#[cfg(target_os = "linux")]
#[test]
fn a_huge_file_is_refused_by_its_size() {
    let sandbox = batch_sandbox();
    // Sparse: forty gigabytes that take no space on the disk.
    let file = File::create(sandbox.path("photos/huge.jpg")).unwrap();
    file.set_len(40_000_000_000).unwrap();
    let start = Instant::now();
    let outcome = sandbox.run(&BATCH);
    assert_eq!((outcome.status, outcome.errors().len()), (Some(1), 1), "{outcome:#?}");
    assert!(outcome.errors()[0].contains("photos/huge.jpg"), "{outcome:#?}");
    assert!(outcome.errors()[0].contains("found 40000000000"), "{outcome:#?}");
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(read_json(&sandbox.path("out/run.json"))["inputs"].as_array().unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn files_are_finished_when_the_reader_of_standard_output_leaves() {
    let sandbox = batch_sandbox();
    sandbox.write("photos/c.png", "no picture");
    let run = |arguments: &[&str]| {
        let mut child = sandbox.command().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        wait(&mut child)
    };
    assert_eq!(run(&[&BATCH[..], &["--json"]].concat()), Some(1), "one photo failed");
    let manifest = read_json(&sandbox.path("out/run.json"));
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), 2);
    assert!(sandbox.path("out/index.html").is_file());
    let common = ["--model", "model", "--json", "--output", "found"];
    let localize = ["localize", PROMPT, "photos", "--coco", "found/all.json"];
    assert_eq!(run(&[&localize[..], &common].concat()), Some(1));
    assert_eq!(read_json(&sandbox.path("found/all.json"))["images"].as_array().unwrap().len(), 2);
    let compare = ["compare", "photos/a.png", "red", "blue", "--report", "found/page.html"];
    assert_eq!(run(&[&compare[..], &common].concat()), Some(0));
    assert!(sandbox.path("found/page.html").is_file());
    // Nothing is left to be done where nothing is written.
    assert_eq!(run(&["localize", PROMPT, "photos", "--save", "none", "--model", "model"]), Some(0));
    assert_eq!(run(&["prompts"]), Some(0));
}
