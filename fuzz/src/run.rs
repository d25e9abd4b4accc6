//! What a run leaves behind and goes on from: its journal, its description, its rows.

use fieldmark_evaluate::{
    evaluate::{RowsFile, Summary},
    metric::Bootstrap,
};
use fieldmark_explain::run::{Described, Reading, Results, described, difference, run_name};
use serde_json::Value;

use crate::{check_error, scratch};

/// A journal of the run that its first line names. Where the first byte is odd each line gets a seal that fits, so that
/// what is in it is looked at.
///
/// # Panics
/// If a journal that was read cannot be read again as it was left.
pub fn journal(bytes: &[u8]) {
    let Some((form, text)) = bytes.split_first() else { return };
    let run = named_run(text).unwrap_or_else(|| run_name("{}"));
    let text = if form & 1 == 1 { sealed(text, &run) } else { text.to_vec() };
    scratch::with(|scratch| {
        for described in [false, true] {
            let path = scratch.write("results.jsonl", &text);
            let reading = Reading { run: &run, described };
            match Results::resume(&path, reading) {
                Ok(results) => {
                    results.left_out().iter().for_each(|note| assert!(!note.contains('\n'), "{note:?}"));
                    drop(results);
                    let again = Results::resume(&path, reading);
                    assert!(again.is_ok(), "what was read can be read again: {:?}", again.err());
                }
                Err(error) => check_error(&error),
            }
            let _ = Results::is_empty(&path);
        }
    });
}

/// The first run that a journal names.
fn named_run(text: &[u8]) -> Option<String> {
    let name = b"\"run\":\"";
    let at = text.windows(name.len()).position(|window| window == name)? + name.len();
    let run = text.get(at..at + 16)?;
    run.iter().all(u8::is_ascii_alphanumeric).then(|| String::from_utf8_lossy(run).into_owned())
}

/// Each line with a run and a checksum over all before it.
fn sealed(text: &[u8], run: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let line = |line: &str| {
        let body = line.split(",\"run\":").next().unwrap_or_default();
        let body = body.strip_suffix('}').unwrap_or(body);
        let checked = format!("{body},\"run\":\"{run}\"");
        format!("{checked},\"check\":\"{}\"}}\n", run_name(&checked))
    };
    text.lines().map(line).collect::<String>().into_bytes()
}

/// A run's description, and how another one differs from it.
///
/// # Panics
/// If a description differs from itself.
pub fn description(bytes: &[u8]) {
    scratch::with(|scratch| {
        let path = scratch.write("run.json", bytes);
        match described::<Value>(&path, ("layout", "a batch", "an evaluation")) {
            Ok(Described::Whole(value)) => {
                assert_eq!(difference(&value, &value), None);
                let _ = difference(&value, &serde_json::json!({"model": {"name": "a"}, "layers": [1]}));
            }
            Ok(Described::Damaged(note)) => assert!(!note.contains('\n'), "{note:?}"),
            Ok(Described::Missing) => panic!("the file is there"),
            Err(error) => check_error(&error),
        }
    });
}

/// The rows of an evaluation.
pub fn rows(bytes: &[u8]) {
    scratch::with(|scratch| {
        let path = scratch.write("rows.parquet", bytes);
        let bootstrap = Bootstrap::default();
        let summary =
            RowsFile::open(&path).and_then(|file| Summary::of(&file, "set".into(), Vec::new(), &bootstrap));
        if let Err(error) = summary {
            check_error(&error);
        }
    });
}
