//! Damaged journals and descriptions of runs: `--resume` goes on to the results of an undamaged run, or refuses with one line.

use std::{collections::BTreeMap, path::Path};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::rounds;
use crate::sandbox::{Outcome, Sandbox, files};

const BATCH: [&str; 7] = ["batch", "prompts.txt", "photos", "--model", "model", "--output", "out"];
const EVALUATE: [&str; 6] = ["evaluate", "set", "--model", "model", "--output", "out"];

/// Three photos, as a folder and as a data set.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.txt", "red square\nblue circle\n");
    let mut lines = String::new();
    for name in ["a.png", "b.png", "c.png"] {
        sandbox.copy_photo("shapes-96x64.png", format!("photos/{name}"));
        sandbox.copy_photo("shapes-96x64.png", format!("set/{name}"));
        let line =
            serde_json::json!({"image": name, "prompt": "red square", "box": [4, 5, 20, 18], "id": name});
        lines += &format!("{line}\n");
    }
    sandbox.write("set/manifest.jsonl", lines);
    sandbox
}

/// Changes some bytes, cuts the file, or repeats, drops or swaps lines.
fn mutate(bytes: &mut Vec<u8>, chance: &mut ChaCha8Rng) {
    for _ in 0..chance.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = chance.random_range(0..bytes.len());
        match chance.random_range(0..7) {
            0 => bytes[at] ^= 1 << chance.random_range(0..8),
            1 => bytes[at] = *b"\0\n\"{}[]9-,\xff".choose(chance).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.splice(at..at, vec![b'9'; chance.random_range(1..400)])),
            4 => drop(bytes.drain(at..(at + chance.random_range(1..200)).min(bytes.len()))),
            _ => {
                let mut lines: Vec<Vec<u8>> =
                    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let (one, other) = (chance.random_range(0..lines.len()), chance.random_range(0..lines.len()));
                if chance.random_bool(0.5) {
                    lines.swap(one, other);
                } else {
                    lines.insert(other, lines[one].clone());
                }
                *bytes = lines.concat();
            }
        }
    }
}

/// What a run has to say of its photos, without what differs from one run to the next.
fn inputs(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("results.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["input"].clone()).collect()
}

fn check(outcome: &Outcome, about: &str) -> bool {
    match outcome.status {
        Some(0) => true,
        Some(2) => {
            assert_eq!(outcome.errors().len(), 1, "{about}: {outcome:#?}");
            false
        }
        _ => panic!("{about}: {outcome:#?}"),
    }
}

fn attack(arguments: &[&str], usual: usize) {
    let sandbox = sandbox();
    sandbox.run(arguments).assert_done();
    let folder = sandbox.path("out");
    let sound: BTreeMap<String, Vec<u8>> = files(&folder);
    let expected = inputs(&folder);
    let targets: Vec<&String> =
        sound.keys().filter(|name| name.ends_with(".json") || name.ends_with(".jsonl")).collect();
    assert!(targets.len() >= 2, "{targets:?}");
    let (rounds, mut resumed) = (rounds(usual), 0);
    for round in 0..rounds {
        let mut chance = ChaCha8Rng::seed_from_u64(round as u64);
        for (name, bytes) in &sound {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let target = targets.choose(&mut chance).unwrap();
        let mut bytes = sound[*target].clone();
        mutate(&mut bytes, &mut chance);
        std::fs::write(folder.join(target), &bytes).unwrap();
        let about = format!("round {round}, {target}");
        if check(&sandbox.run(&[arguments, &["--resume"]].concat()), &about) {
            resumed += 1;
            assert_eq!(inputs(&folder), expected, "{about}");
            let left = files(&folder);
            assert!(sound.keys().all(|name| left.contains_key(name)), "{about}: {:?}", left.keys());
        }
    }
    println!("{} runs: {rounds} damaged, {resumed} resumed, {} refused", arguments[0], rounds - resumed);
}

#[test]
fn damaged_batches_are_resumed_or_refused() {
    attack(&BATCH, 40);
}

#[test]
fn damaged_evaluations_are_resumed_or_refused() {
    attack(&EVALUATE, 20);
}
