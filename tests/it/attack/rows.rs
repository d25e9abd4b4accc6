//! Mutants of the rows of an evaluation: each is summed up or refused with one line, and takes no memory on the file's word.

use std::path::Path;

use fieldmark::{
    Error,
    evaluate::{RowsFile, Summary},
    metric::Bootstrap,
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{memory::largest_piece, rounds};
use crate::sandbox::Sandbox;

/// Far more than the rows of some questions take.
const LARGEST_PIECE: usize = 64 << 20;

/// The rows of three questions, as a run writes them.
fn rows() -> Vec<u8> {
    let sandbox = Sandbox::new();
    let line = |image: &str, against: &str| {
        format!(
            "{{\"image\": \"../{image}.png\", \"prompt\": \"red\", \"against\": [{against}], \"box\": [2, 2, 30, 30]}}\n"
        )
    };
    let lines = [line("wide", "\"blue\""), line("wide", ""), line("tall", "\"blue\", \"green\"")].concat();
    sandbox.write("set/manifest.jsonl", lines);
    let metrics = ["--metrics", "localisation,deletion_auc", "--strength", "0.3,1", "--output", "out"];
    sandbox.run(&[&["evaluate", "set", "--model", "model"], &metrics[..]].concat()).assert_done();
    std::fs::read(sandbox.path("out/rows.parquet")).unwrap()
}

/// Changes bytes, mostly of the footer, which says what is where; its length stands before the last four bytes.
fn mutate(bytes: &mut Vec<u8>, chance: &mut ChaCha8Rng) {
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    let footer = bytes.len().saturating_sub(8 + length);
    for _ in 0..chance.random_range(1..4) {
        let from = if chance.random_bool(0.7) { footer.min(bytes.len() - 1) } else { 0 };
        let at = chance.random_range(from..bytes.len());
        match chance.random_range(0..6) {
            0 => bytes[at] ^= 1 << chance.random_range(0..8),
            1 => bytes[at] = *[0, 1, 0x7f, 0x80, 0xfe, 0xff].choose(chance).unwrap(),
            2 => {
                let end = (at + chance.random_range(1..10)).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
            3 => drop(bytes.drain(at..(at + chance.random_range(1..8)).min(bytes.len()))),
            4 => drop(bytes.splice(at..at, vec![0xff; chance.random_range(1..9)])),
            _ => bytes.truncate(at.max(9)),
        }
        if bytes.len() < 9 {
            return;
        }
    }
}

fn summed_up(path: &Path) -> Result<Summary, Error> {
    Summary::of(&RowsFile::open(path)?, "set".into(), Vec::new(), &Bootstrap::default())
}

#[test]
fn mutants_of_rows_are_summed_up_or_refused() {
    let sound = rows();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, &sound).unwrap();
    summed_up(&path).unwrap();
    let rounds = rounds(1500);
    let (mut read, mut largest) = (0, 0);
    for round in 0..rounds {
        let mut chance = ChaCha8Rng::seed_from_u64(round as u64);
        let mut bytes = sound.clone();
        mutate(&mut bytes, &mut chance);
        std::fs::write(&path, bytes).unwrap();
        let (summary, piece) = largest_piece(|| summed_up(&path));
        assert!(piece < LARGEST_PIECE, "round {round}: {piece} bytes at once");
        largest = largest.max(piece);
        match summary {
            Ok(_) => read += 1,
            Err(error) => {
                let message = error.to_string();
                let is_clear =
                    message.contains("rows.parquet") && !message.contains('\n') && message.len() < 5000;
                assert!(is_clear, "round {round}: {message}");
            }
        }
    }
    println!("rows: {rounds} mutants, {read} read, {} refused, largest piece {largest} bytes", rounds - read);
    assert!(read > 0 && read < rounds);
}
