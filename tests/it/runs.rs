//! Runs that meet others, signals, damage and places that are no files: nothing is lost, and nothing else is harmed.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::sandbox::{Outcome, PROMPT, Sandbox, files, wait};

const LOCK: &str = ".fieldmark.lock";

/// Photos in `photos`, the list `prompts.txt`, and the same photos as a data set in `set`.
fn sandbox(photos: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    let mut lines = String::new();
    for number in 0..photos {
        for folder in ["photos", "set"] {
            sandbox.copy_photo("shapes-96x64.png", format!("{folder}/{number:03}.png"));
        }
        let image = format!("{number:03}.png");
        let line = serde_json::json!({"image": image, "prompt": "red square", "against": ["blue circle"],
                "box": [4, 5, 20, 18], "id": number});
        lines += &format!("{line}\n");
    }
    sandbox.write("set/manifest.jsonl", lines);
    sandbox
}

const BATCH: [&str; 7] = ["batch", "prompts.txt", "photos", "--model", "model", "--output", "out"];
const EVALUATE: [&str; 6] = ["evaluate", "set", "--model", "model", "--output", "out"];

/// The program with the default signals: what a script starts in the background ignores SIGINT, and tests that are
/// started so would pass that on.
#[cfg(target_os = "linux")]
fn interruptible(sandbox: &Sandbox) -> Command {
    let mut command = Command::new("env");
    command.env_clear().env("HOME", sandbox.path("home")).current_dir(sandbox.path(""));
    // It becomes the program, so the process id stays the same.
    command.args(["--default-signal=INT,HUP,TERM", env!("CARGO_BIN_EXE_fieldmark")]);
    command
}

/// Other systems have no such command.
#[cfg(all(unix, not(target_os = "linux")))]
fn interruptible(sandbox: &Sandbox) -> Command {
    sandbox.command()
}

#[cfg(unix)]
fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = interruptible(sandbox);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn json_lines(path: &Path) -> Vec<Value> {
    lines(path).iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Waits until a journal has some lines; false if the run ended before.
fn wait_for_lines(child: &mut Child, journal: &Path, count: usize) -> bool {
    while lines(journal).len() < count {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn a_second_run_is_refused_and_changes_nothing() {
    let sandbox = sandbox(2);
    for arguments in [&BATCH[..], &EVALUATE] {
        sandbox.run(arguments).assert_done();
        sandbox.write("out/.fieldmark-0.part", "half a picture of the other run");
        sandbox.write(format!("out/{LOCK}"), "");
        let lock = File::open(sandbox.path("out").join(LOCK)).unwrap();
        lock.lock().unwrap();
        let before = files(&sandbox.path("out"));
        for more in [&[][..], &["--resume"]] {
            sandbox.run(&[arguments, more].concat()).assert_refused(&["out: another run is writing it"]);
            assert!(files(&sandbox.path("out")) == before);
        }
        drop(lock);
        let outcome = sandbox.run(&[arguments, &["--resume"]].concat());
        outcome.assert_done();
        let names = sandbox.names("out");
        assert!(!names.iter().any(|name| name.starts_with(".fieldmark")), "{names:?}");
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

#[test]
fn of_runs_that_start_at_once_one_works_and_the_others_are_refused() {
    let sandbox = sandbox(2);
    for round in 0..12 {
        let arguments = if round % 2 == 0 { &BATCH[..] } else { &EVALUATE };
        let output = format!("new/{round}/out");
        let arguments = [&arguments[..arguments.len() - 1], &[output.as_str()]].concat();
        let start = || {
            let mut command = sandbox.command();
            command.args(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let runs: Vec<Child> = (0..3).map(|_| start()).collect();
        let ends: Vec<_> = runs.into_iter().map(|run| run.wait_with_output().unwrap()).collect();
        let mut done = 0;
        for end in ends {
            let said = String::from_utf8(end.stderr).unwrap();
            match end.status.code() {
                // One that comes when the first is done replaces its results.
                Some(0) => done += 1,
                Some(2) => assert!(said.contains("another run is writing it"), "{said}"),
                other => panic!("{other:?}: {said}"),
            }
        }
        assert!(done >= 1, "round {round}");
        let journal = if round % 2 == 0 { "results.jsonl" } else { "journal.jsonl" };
        assert_eq!(json_lines(&sandbox.path(&output).join(journal)).len(), 2, "round {round}");
        assert!(!sandbox.path(&output).join(LOCK).exists());
    }
}

#[test]
fn a_new_folder_goes_with_a_run_that_does_nothing() {
    let sandbox = sandbox(1);
    sandbox.write("bad.txt", "# no prompt\n");
    let outcome = sandbox.run(&["batch", "prompts.txt", "photos", "--model", "./none", "--output", "a/b"]);
    outcome.assert_refused(&["none"]);
    assert!(!sandbox.path("a").exists());
}

/// Every line of a journal damaged in every kind of way.
fn damaged(line: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let middle = line.len() / 2;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut line = line.to_vec();
        change(&mut line);
        line
    };
    vec![
        ("a digit", with(&|line| line[middle] ^= 1)),
        ("not UTF-8", with(&|line| line[middle] = 0xff)),
        ("NUL", with(&|line| line[middle] = 0)),
        ("zeros", vec![0; line.len() - 1].into_iter().chain(*b"\n").collect()),
        ("cut", with(&|line| drop(line.drain(middle..line.len() - 1)))),
        ("cut in front", with(&|line| drop(line.drain(..middle)))),
        ("a line feed inside", with(&|line| line[middle] = b'\n')),
        ("its end", with(&|line| line[0] = b'x')),
        ("empty", b"\n".to_vec()),
        ("the checksum", {
            let at = line.len() - 4;
            with(&|line| line[at] = if line[at] == b'0' { b'1' } else { b'0' })
        }),
    ]
}

#[test]
fn a_damaged_line_of_a_batch_is_named_and_done_again() {
    let sandbox = sandbox(3);
    sandbox.run(&BATCH).assert_done();
    let journal = sandbox.path("out/results.jsonl");
    let whole = lines(&journal);
    let before = json_lines(&journal);
    for (kind, line) in damaged(&whole[1]) {
        std::fs::write(&journal, [&whole[0], &line, &whole[2]].map(Vec::as_slice).concat()).unwrap();
        let outcome = sandbox.run(&[&BATCH[..], &["--resume", "--json"]].concat());
        outcome.assert_done();
        assert_eq!(outcome.json().len(), 1, "{kind}: one photo is done again: {outcome:#?}");
        assert!(outcome.notes()[0].contains("out/results.jsonl, line 2: "), "{kind}: {outcome:#?}");
        let after = json_lines(&journal);
        assert_eq!((&after[0], &after[2]), (&before[0], &before[2]), "{kind}");
        assert_eq!(after[1]["result"]["prompts"], before[1]["result"]["prompts"], "{kind}");
    }
}

#[test]
fn a_damaged_line_of_an_evaluation_is_named_and_measured_again() {
    let sandbox = sandbox(3);
    sandbox.run(&EVALUATE).assert_done();
    let whole = files(&sandbox.path("out"));
    let journal = sandbox.path("out/journal.jsonl");
    let all = lines(&journal);
    for (kind, line) in damaged(&all[1]) {
        std::fs::write(&journal, [&all[0], &line, &all[2]].map(Vec::as_slice).concat()).unwrap();
        let outcome = sandbox.run(&[&EVALUATE[..], &["--resume"]].concat());
        outcome.assert_done();
        assert!(outcome.notes()[0].contains("out/journal.jsonl, line 2: "), "{kind}: {outcome:#?}");
        assert!(files(&sandbox.path("out")) == whole, "{kind}");
    }
}

#[test]
fn a_part_with_a_damaged_line_is_named_by_merge_and_healed_by_resume() {
    let sandbox = sandbox(4);
    let part = |index: &str, folder: &str, more: &[&str]| {
        let arguments = ["evaluate", "set", "--model", "model", "--shard", index, "--output", folder];
        sandbox.run(&[&arguments[..], more].concat())
    };
    part("0/2", "zero", &[]).assert_done();
    part("1/2", "one", &[]).assert_done();
    sandbox.run(&EVALUATE).assert_done();
    let merge = || sandbox.run(&["evaluate", "--merge", "zero", "one", "--output", "merged"]);
    let journal = sandbox.path("one/journal.jsonl");
    let mut bytes = std::fs::read(&journal).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    merge().assert_refused(&["one", "1 of them missing", "one/journal.jsonl, line 1: its checksum"]);
    assert!(!sandbox.path("merged").exists());
    part("1/2", "one", &["--resume"]).assert_done();
    merge().assert_done();
    assert!(files(&sandbox.path("merged")) == files(&sandbox.path("out")), "the bytes of one run");
}

#[test]
fn without_its_description_a_run_is_gone_on_with_only_where_the_settings_agree() {
    let sandbox = sandbox(3);
    let batch = |more: &[&str]| {
        std::fs::remove_file(sandbox.path("out/run.json")).unwrap();
        let outcome = sandbox.run(&[&BATCH[..], &["--resume", "--json"], more].concat());
        outcome.assert_done();
        (outcome.json().len(), outcome)
    };
    sandbox.run(&BATCH).assert_done();
    assert_eq!(batch(&[]).0, 0, "all is known");
    let (done, outcome) = batch(&["--strength", "0.5"]);
    assert_eq!(done, 3, "nothing is mixed");
    assert!(outcome.notes()[0].contains("3 lines of a run with other settings"), "{outcome:#?}");
    let strengths = json_lines(&sandbox.path("out/results.jsonl"));
    assert!(strengths.iter().all(|line| line["result"]["strength"] == 0.5));
    sandbox.change_json("config.json", "/vision_config/layer_norm_eps", 1e-4);
    assert_eq!(batch(&["--strength", "0.5"]).0, 3, "another checkpoint");
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    sandbox.run(&EVALUATE).assert_done();
    std::fs::remove_file(sandbox.path("out/run.json")).unwrap();
    let outcome = sandbox.run(&[&EVALUATE[..], &["--resume", "--strength", "0.3"]].concat());
    outcome.assert_done();
    assert!(outcome.notes()[0].contains("3 lines of a run with other settings"), "{outcome:#?}");
}

#[test]
fn a_damaged_description_is_named_and_written_again() {
    let sandbox = sandbox(3);
    for (arguments, journal) in [(&BATCH[..], "results.jsonl"), (&EVALUATE, "journal.jsonl")] {
        sandbox.run(arguments).assert_done();
        let description = sandbox.path("out/run.json");
        let whole = std::fs::read(&description).unwrap();
        let lines_before = json_lines(&sandbox.path("out").join(journal));
        let middle = whole.len() / 2;
        let mut torn = whole.clone();
        torn[middle..].fill(0);
        for damaged in [&b""[..], b"{}", b"[]\n", b"\xff\xfe", &whole[..middle], &torn] {
            std::fs::write(&description, damaged).unwrap();
            let outcome = sandbox.run(&[arguments, &["--resume"]].concat());
            outcome.assert_done();
            assert!(outcome.notes()[0].contains("out/run.json is damaged: "), "{outcome:#?}");
            assert!(outcome.notes().len() == 1, "no line of the journal is lost: {outcome:#?}");
            assert_eq!(json_lines(&sandbox.path("out").join(journal)), lines_before);
            assert!(std::fs::read(&description).unwrap() == whole, "it is as it was");
        }
        // Results of other settings are not mixed with these, even if the description matches.
        std::fs::write(&description, b"{").unwrap();
        let outcome = sandbox.run(&[arguments, &["--resume", "--strength", "0.25"]].concat());
        outcome.assert_done();
        assert!(outcome.notes()[1].contains("3 lines of a run with other settings"), "{outcome:#?}");
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
    // The description of another kind of run is no damage.
    sandbox.run(&EVALUATE).assert_done();
    let outcome = sandbox.run(&[&BATCH[..], &["--resume"]].concat());
    outcome
        .assert_refused(&["out/run.json: expected the description of a batch, found that of an evaluation"]);
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    sandbox.run(&BATCH).assert_done();
    let outcome = sandbox.run(&[&EVALUATE[..], &["--resume"]].concat());
    outcome.assert_refused(&["expected the description of an evaluation, found that of a batch"]);
}

#[test]
fn a_journal_of_an_earlier_version_is_gone_on_with() {
    let sandbox = sandbox(2);
    sandbox.run(&BATCH).assert_done();
    let journal = sandbox.path("out/results.jsonl");
    let bare = |line: &Value| {
        let mut line = line.clone();
        let fields = line.as_object_mut().unwrap();
        assert!(fields.remove("run").is_some() && fields.remove("check").is_some());
        format!("{line}\n")
    };
    let text: String = json_lines(&journal).iter().map(bare).collect();
    std::fs::write(&journal, &text).unwrap();
    let resumed = || sandbox.run(&[&BATCH[..], &["--resume", "--json"]].concat());
    let outcome = resumed();
    outcome.assert_done();
    assert_eq!((outcome.json().len(), outcome.notes().len()), (0, 0), "{outcome:#?}");
    assert!(json_lines(&journal)[1]["check"].is_string(), "its lines got their seal");
    std::fs::write(&journal, text).unwrap();
    std::fs::remove_file(sandbox.path("out/run.json")).unwrap();
    let outcome = resumed();
    assert_eq!(outcome.json().len(), 2, "nothing says what its settings were: {outcome:#?}");
    assert!(outcome.notes()[0].contains("2 lines that do not name their run"), "{outcome:#?}");
}

// Files that are named on the command line.

#[test]
fn standard_output_takes_one_result_alone() {
    let sandbox = sandbox(1);
    let coco = |outcome: &Outcome| {
        outcome.assert_done();
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()["images"].as_array().unwrap().len()
    };
    assert_eq!(coco(&sandbox.localize(PROMPT, &["wide.png", "--coco", "-", "--save", "none"])), 1);
    let compare = ["compare", "wide.png", "reed", "marsh", "--model", "model", "--save", "none"];
    assert_eq!(coco(&sandbox.run(&[&compare[..], &["--coco", "-"]].concat())), 1);
    let page = sandbox.localize(PROMPT, &["wide.png", "--report", "-", "--save", "none"]);
    assert!(page.stdout.starts_with("<!") && page.stdout.trim_end().ends_with("</html>"));
    let rows = sandbox.run(&["evaluate", "set", "--model", "model", "--rows", "-"]);
    rows.assert_done();
    assert!(rows.json()[0]["prompt"].is_string(), "{rows:#?}");
    for more in [&["--json"][..], &["--report", "-"]] {
        let outcome = sandbox.localize(PROMPT, &[&["wide.png", "--coco", "-"], more].concat());
        outcome.assert_refused(&["standard output is taken"]);
    }
    sandbox.run(&["evaluate", "set", "--rows", "-", "--json"]).assert_refused(&["--rows", "--json"]);
    let same = sandbox.localize(PROMPT, &["wide.png", "--coco", "x", "--report", "./x"]);
    same.assert_refused(&["--report", "--coco", "the same"]);
    assert!(!sandbox.path("fieldmark-out").exists() && !sandbox.path("-").exists());
}

#[cfg(unix)]
#[test]
fn pipes_devices_and_links_are_written_through() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let sandbox = sandbox(1);
    let options: [(&str, &[&str]); 3] = [
        ("--coco", &["localize", PROMPT, "wide.png", "--model", "model", "--save", "none"]),
        ("--report", &["compare", "wide.png", "reed", "marsh", "--model", "model", "--save", "none"]),
        ("--rows", &["evaluate", "set", "--model", "model"]),
    ];
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    for (option, command) in options {
        let run = |path: &str| sandbox.run(&[command, &[option, path]].concat());
        let pipe = sandbox.path("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = Command::new("cat").arg(&pipe).stdout(Stdio::piped()).spawn().unwrap();
        run("pipe").assert_done();
        let read = reader.wait_with_output().unwrap().stdout;
        assert!(read.len() > 50, "{option}");
        assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo(), "{option}");
        std::fs::remove_file(pipe).unwrap();
        sandbox.write("elsewhere/file", "old");
        for (link, to) in [("link", "elsewhere/file"), ("dangling", "elsewhere/new")] {
            symlink(to, sandbox.path(link)).unwrap();
            run(link).assert_done();
            assert!(sandbox.path(link).is_symlink(), "{option}");
            assert_eq!(std::fs::read(sandbox.path(to)).unwrap(), read, "{option}");
            std::fs::remove_file(sandbox.path(link)).unwrap();
        }
        std::fs::remove_file(sandbox.path("elsewhere/new")).unwrap();
        symlink("/dev/null", sandbox.path("null")).unwrap();
        run("null").assert_done();
        assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert!(sandbox.path("null").is_symlink());
        std::fs::remove_file(sandbox.path("null")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn places_that_cannot_be_written_are_refused_before_the_model_is_opened() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let sandbox = sandbox(1);
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.path("socket")).unwrap();
    symlink("circle", sandbox.path("circle")).unwrap();
    sandbox.write("kept", "kept");
    std::fs::set_permissions(sandbox.path("kept"), std::fs::Permissions::from_mode(0o444)).unwrap();
    let places = [
        ("folder", "a directory"),
        ("new/", "a directory"),
        ("socket", "a socket"),
        ("circle", "links"),
        ("kept", "read-only"),
        ("wide.png/x", "cannot be written"),
    ];
    for (place, reason) in places {
        let before = sandbox.names("");
        for arguments in [
            &["localize", PROMPT, "wide.png", "--model", "./none", "--coco", place][..],
            &["localize", PROMPT, "wide.png", "--model", "./none", "--report", place],
            &["compare", "wide.png", "a", "b", "--model", "./none", "--coco", place],
            &["evaluate", "set", "--model", "./none", "--rows", place],
        ] {
            sandbox.run(arguments).assert_refused(&[place, "cannot be written", reason]);
        }
        assert_eq!(sandbox.names(""), before, "{place}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_files_no_place_for_them_is_needed() {
    let sandbox = Sandbox::new();
    let photo = sandbox.path("wide.png");
    let (photo, model) = (photo.to_str().unwrap(), sandbox.path("model"));
    let model = model.to_str().unwrap();
    for arguments in [
        &["localize", PROMPT, photo, "--model", model, "--save", "none"][..],
        &["compare", photo, "reed", "marsh", "--model", model, "--save", "none"],
    ] {
        // Nobody can make a file there.
        let outcome = sandbox.finish(sandbox.command().current_dir("/proc").args(arguments));
        outcome.assert_done();
    }
}

// Signals.

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_at_once_and_leaves_nothing_half_done() {
    let sandbox = sandbox(60);
    for (arguments, journal) in [(&BATCH[..], "results.jsonl"), (&EVALUATE, "journal.jsonl")] {
        sandbox.run(arguments).assert_done();
        let whole = json_lines(&sandbox.path("out").join(journal)).len();
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        for (name, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
            let mut child = start(&sandbox, arguments);
            let path = sandbox.path("out").join(journal);
            assert!(wait_for_lines(&mut child, &path, 2), "it ended too early");
            let begin = Instant::now();
            signal(&child, name);
            assert_eq!(wait(&mut child), Some(status), "{name}");
            assert!(begin.elapsed() < Duration::from_secs(2), "{name} took {:?}", begin.elapsed());
            let done = lines(&path);
            assert!(done.len() < whole, "it was ended in the middle");
            assert!(done.iter().all(|line| line.ends_with(b"\n")), "{name}: the last line is whole");
            let names: Vec<String> = files(&sandbox.path("out")).into_keys().collect();
            assert!(!names.iter().any(|name| name.contains(".fieldmark")), "{name}: {names:?}");
            let outcome = sandbox.run(&[arguments, &["--resume"]].concat());
            outcome.assert_done();
            assert_eq!(outcome.notes(), [""; 0], "{name}: no line is damaged");
            assert_eq!(json_lines(&path).len(), whole);
            std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_a_run_at_once() {
    let sandbox = sandbox(60);
    for (arguments, journal) in [(&BATCH[..], "results.jsonl"), (&EVALUATE, "journal.jsonl")] {
        for pause in [0, 5] {
            let mut child = start(&sandbox, arguments);
            let path = sandbox.path("out").join(journal);
            assert!(wait_for_lines(&mut child, &path, 2), "it ended too early");
            let begin = Instant::now();
            signal(&child, "INT");
            std::thread::sleep(Duration::from_millis(pause));
            // It may be gone by now.
            let _ = Command::new("kill")
                .args(["-s", "INT", &child.id().to_string()])
                .stderr(Stdio::null())
                .status();
            assert_eq!(wait(&mut child), Some(130));
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
            assert!(lines(&path).iter().all(|line| line.ends_with(b"\n")), "the last line is whole");
            let names: Vec<String> = files(&sandbox.path("out")).into_keys().collect();
            assert!(!names.iter().any(|name| name.ends_with(".part")), "{names:?}");
            let outcome = sandbox.run(&[arguments, &["--resume"]].concat());
            outcome.assert_done();
            assert_eq!(outcome.notes(), [""; 0], "no line is damaged");
            assert_eq!(json_lines(&path).len(), 60);
            std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_does_not_wait_for_the_first() {
    let sandbox = sandbox(60);
    std::fs::create_dir(sandbox.path("tmp")).unwrap();
    let mut command = interruptible(&sandbox);
    command.args(["evaluate", "set", "--model", "model"]).env("TMPDIR", sandbox.path("tmp"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let folder = loop {
        let found = std::fs::read_dir(sandbox.path("tmp")).unwrap().next();
        match found {
            Some(folder) => break folder.unwrap().path(),
            None => assert!(child.try_wait().unwrap().is_none(), "it ended too early"),
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    signal(&child, "STOP");
    // So much to clean up that it takes seconds.
    for number in 0..100_000 {
        File::create(folder.join(number.to_string())).unwrap();
    }
    signal(&child, "INT");
    signal(&child, "CONT");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the first signal is at work");
    let begin = Instant::now();
    signal(&child, "INT");
    assert_eq!(wait(&mut child), Some(130));
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    assert!(folder.join("99999").exists() || std::fs::read_dir(&folder).unwrap().next().is_some());
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_leaves_neither_temporary_folders_nor_new_ones() {
    let sandbox = sandbox(60);
    std::fs::create_dir(sandbox.path("tmp")).unwrap();
    let mut command = interruptible(&sandbox);
    command.args(["evaluate", "set", "--model", "model"]).env("TMPDIR", sandbox.path("tmp"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while sandbox.names("tmp").is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(20));
    signal(&child, "TERM");
    assert_eq!(wait(&mut child), Some(143));
    assert_eq!(sandbox.names("tmp"), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let sandbox = sandbox(20);
    let mut shell = Command::new("sh");
    shell.env_clear().env("HOME", sandbox.path("home")).current_dir(sandbox.path(""));
    shell.arg("-c").arg("trap '' HUP; exec \"$0\" \"$@\"").arg(env!("CARGO_BIN_EXE_fieldmark")).args(BATCH);
    let mut child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(wait_for_lines(&mut child, &sandbox.path("out/results.jsonl"), 1));
    signal(&child, "HUP");
    assert_eq!(wait(&mut child), Some(0));
}

// What changes under a run.

#[cfg(unix)]
#[test]
fn an_output_directory_that_vanishes_ends_the_run_with_one_line() {
    let sandbox = sandbox(80);
    let mut command = sandbox.command();
    let mut child = command.args(BATCH).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(wait_for_lines(&mut child, &sandbox.path("out/results.jsonl"), 2), "it ended too early");
    std::fs::rename(sandbox.path("out"), sandbox.path("away")).unwrap();
    let end = child.wait_with_output().unwrap();
    let said = String::from_utf8(end.stderr).unwrap();
    assert_eq!(end.status.code(), Some(1), "some photos are done: {said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
    assert!(said.contains("out/") && said.contains("cannot be written"), "{said}");
    assert!(!sandbox.path("out").exists());
}

/// Starts a run that can make files of a number of blocks of 512 bytes only, as where a quota is used up.
#[cfg(target_os = "linux")]
fn run_with_limit(sandbox: &Sandbox, blocks: u32, arguments: &[&str]) -> Outcome {
    let mut shell = Command::new("sh");
    shell.env_clear().env("HOME", sandbox.path("home")).current_dir(sandbox.path(""));
    // Without the signal, writing fails.
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"").arg("sh");
    shell.arg(blocks.to_string()).arg(env!("CARGO_BIN_EXE_fieldmark")).args(arguments);
    sandbox.finish(&mut shell)
}

#[cfg(target_os = "linux")]
#[test]
fn a_journal_that_cannot_grow_ends_the_run_with_one_line_and_is_gone_on_with() {
    let sandbox = sandbox(40);
    let batch = [&BATCH[..], &["--save", "map"]].concat();
    for (arguments, journal, blocks) in [(&batch[..], "results.jsonl", 40), (&EVALUATE, "journal.jsonl", 12)]
    {
        sandbox.run(arguments).assert_done();
        let whole: Vec<String> = files(&sandbox.path("out")).into_keys().collect();
        let path = sandbox.path("out").join(journal);
        assert!(std::fs::metadata(&path).unwrap().len() > u64::from(blocks) * 512, "{journal}");
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        let outcome = run_with_limit(&sandbox, blocks, arguments);
        assert_eq!((outcome.status, outcome.errors().len()), (Some(1), 1), "{outcome:#?}");
        assert!(outcome.errors()[0].contains(&format!("out/{journal}")), "{outcome:#?}");
        let done = json_lines(&path).len();
        assert!((1..40).contains(&done), "{done} lines, all of them whole");
        assert!(files(&sandbox.path("out")).into_keys().all(|name| whole.contains(&name)));
        let outcome = sandbox.run(&[arguments, &["--resume"]].concat());
        outcome.assert_done();
        assert_eq!(outcome.notes(), [""; 0], "no line is damaged");
        assert_eq!(json_lines(&path).len(), 40);
        assert!(files(&sandbox.path("out")).into_keys().eq(whole));
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

/// In a file system of its own that has room for some photos only; what follows the run sees the same place.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs the right to mount: run it by name"]
fn a_full_disk_ends_the_run_with_one_line_and_it_is_gone_on_with() {
    let sandbox = sandbox(40);
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let batch = [&BATCH[..], &["--save", "overlay,map"]].concat();
    for (arguments, journal) in [(&batch[..], "results.jsonl"), (&EVALUATE, "journal.jsonl")] {
        let size = if journal == "results.jsonl" { "600k" } else { "32k" };
        let script = "set -e; mount -t tmpfs -o size=\"$1\" none out; journal=$2; shift 2
            status=0; \"$@\" || status=$?
            echo \"status $status, $(wc -l < out/$journal) lines, $(find out -name '*.part' | wc -l) parts\"
            tail -c 1 out/$journal | od -An -c
            mount -o remount,size=100m none out; \"$@\" --resume; wc -l < out/$journal";
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size, journal]);
        shell.env("HOME", sandbox.path("home")).current_dir(sandbox.path(""));
        let outcome = sandbox.finish(shell.arg(env!("CARGO_BIN_EXE_fieldmark")).args(arguments));
        assert_eq!((outcome.status, outcome.errors().len()), (Some(0), 1), "{outcome:#?}");
        assert!(outcome.errors()[0].contains("No space left on device"), "{outcome:#?}");
        let (ended, rest) = outcome.stdout.split_once("status 1, ").unwrap();
        let done: usize = rest.split(' ').next().unwrap().parse().unwrap();
        assert!((1..40).contains(&done) && rest.contains("lines, 0 parts"), "{ended}{outcome:#?}");
        assert!(rest.contains("\\n") && outcome.stdout.ends_with("40\n"), "{outcome:#?}");
        assert!(outcome.notes().is_empty(), "no line is damaged: {outcome:#?}");
    }
}

#[test]
fn a_checkpoint_that_changes_ends_the_run_with_one_line() {
    let sandbox = sandbox(80);
    let weights = sandbox.path("model/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    for arguments in [&BATCH[..], &EVALUATE] {
        let mut command = sandbox.command();
        let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let journal = if arguments[0] == "batch" { "results.jsonl" } else { "journal.jsonl" };
        assert!(wait_for_lines(&mut child, &sandbox.path("out").join(journal), 2), "it ended too early");
        // A new file in its place, as a download makes it.
        std::fs::write(sandbox.path("model/new"), &bytes).unwrap();
        std::fs::rename(sandbox.path("model/new"), &weights).unwrap();
        let end = child.wait_with_output().unwrap();
        let said = String::from_utf8(end.stderr).unwrap();
        assert_ne!(end.status.code(), Some(0), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
        assert!(said.contains("model.safetensors") && said.contains("changed"), "{said}");
        std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_started_are_one_error() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    // Larger than any address space.
    command.env("RUST_MIN_STACK", (1u64 << 47).to_string());
    let outcome = sandbox.finish(command.args(["localize", PROMPT, "wide.png", "--model", "model"]));
    outcome.assert_refused(&["threads"]);
}

#[cfg(unix)]
#[test]
fn names_cannot_deceive_the_terminal() {
    let sandbox = Sandbox::new();
    let name = "a\u{202e}gnp.\u{1b}[31m\n.png";
    sandbox.write(name, "no picture");
    let outcome = sandbox.localize(PROMPT, &[name, "wide.png"]);
    assert_eq!(outcome.status, Some(1), "{outcome:#?}");
    sandbox.copy_photo("shapes-96x64.png", name);
    let good = sandbox.localize(PROMPT, &[name]);
    good.assert_done();
    let wrong = sandbox.run(&["localize", "--\u{1b}[31m\u{202e}"]);
    for text in [&outcome.stderr, &outcome.stdout, &good.stdout, &good.stderr, &wrong.stderr] {
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text:?}");
    }
    assert!(outcome.errors()[0].contains("a\\u{202e}gnp.\\u{1b}[31m"), "{outcome:#?}");
    assert!(wrong.stderr.contains("\\u{1b}[31m\\u{202e}"), "{wrong:#?}");
    // Pages, too.
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    sandbox.run(&["batch", "prompts.txt", name, "--model", "model", "--output", "out"]).assert_done();
    let mut pages = files(&sandbox.path("out"));
    pages.retain(|name, _| name.ends_with(".html"));
    assert_eq!(pages.len(), 2);
    for page in pages.into_values() {
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains(r"a\\u{202e}gnp.\\u{1b}[31m"), "its name is spelled out");
    }
}
