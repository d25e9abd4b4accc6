//! Damaged checkpoints by the thousand: pickles of both forms, headers of safetensors, JSON. None may end in a panic, a
//! hang or memory taken on the file's word; each is read or refused.
//!
//! `FIELDMARK_ATTACK_ROUNDS` multiplies the mutants for each file.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use candle_core::Device;
use fieldmark::{
    Result,
    model::{Model, hub::HubOptions, hub::ModelSpec, inspect::Inspection, weights::Weights},
    progress::Silent,
};

use super::{memory::largest_piece, rounds};

/// Mutants for each file, unless the environment asks for more.
const ROUNDS: usize = 250;
/// The largest piece of memory for one mutant: the limit on a pickle's program is 16 MiB, and the files have some 100 kB.
const LARGEST_PIECE: usize = 64 << 20;

/// The files that are damaged: the folder among the fixtures, and the file in it.
const TARGETS: [(&str, &str); 14] = [
    ("pickled/plain", "pytorch_model.bin"),
    ("pickled/training", "pytorch_model.bin"),
    ("pickled/protocol_4", "pytorch_model.bin"),
    ("pickled/legacy_plain", "pytorch_model.bin"),
    ("pickled/legacy_training", "pytorch_model.bin"),
    ("pickled/legacy_shared", "pytorch_model.bin"),
    ("pickled/shards", "pytorch_model.bin.index.json"),
    ("checkpoints/sound", "model.safetensors"),
    ("checkpoints/sound", "config.json"),
    ("checkpoints/sound", "preprocessor_config.json"),
    ("models/open-clip-mean", "open_clip_config.json"),
    ("models/open-clip-gelu", "open_clip_pytorch_model.bin"),
    ("models/tiny-gelu", "model.safetensors.index.json"),
    ("models/tiny-siglip", "tokenizer_config.json"),
];

/// Bytes that mean something to one of the formats.
const MEANINGFUL: &[u8] =
    b"\0\x01\x7f\x80\xff()]}{[:,\"-0129eN.RbQchjqrtsuaKMJIX\x81\x85\x86\x87\x89\x8a\x8b\x8c\x8d\x93\x94\x95";
/// Pieces that are put in: lengths that lie, numbers that JSON does not have, names.
const PIECES: [&[u8]; 14] = [
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0\0\0\0\x80",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"null",
    b"[]",
    b"99999999999999999999",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"cos\nsystem\n",
    b"h\x00h\x00\x86R",
    b"]((((((((((((((((",
    b"../../etc/passwd",
];

/// A xorshift generator: the same mutants at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    /// A place in the file: tables are at its beginning or at its end.
    fn place(&mut self, length: usize) -> usize {
        let near = length.min(3000);
        match self.below(10) {
            0..5 => self.below(near),
            5..8 => length - near + self.below(near),
            _ => self.below(length),
        }
    }
}

fn mutant(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.place(bytes.len());
        let end = (at + 1 + random.below(24)).min(bytes.len());
        match random.below(8) {
            0..3 => bytes[at] = MEANINGFUL[random.below(MEANINGFUL.len())],
            3 => bytes[at] ^= 1 << random.below(8),
            4 => drop(bytes.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            5 => {
                let piece = PIECES[random.below(PIECES.len())];
                let end = (at + piece.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&piece[..end - at]);
            }
            6 => drop(bytes.drain(at..end)),
            _ if random.below(8) == 0 => bytes.truncate(at),
            _ => {
                let copied = bytes[at..end].to_vec();
                let to = random.place(bytes.len());
                bytes.splice(to..to, copied);
            }
        }
    }
    bytes
}

/// Reads all that can be read of what is in a folder.
fn read(folder: &Path) -> Result<()> {
    if !folder.join("config.json").exists()
        && !folder.join("open_clip_model_config.json").exists()
        && !folder.join("open_clip_config.json").exists()
    {
        let weights = Weights::open(folder)?;
        return weights.contents().keys().try_for_each(|name| weights.tensor(name, &Device::Cpu).map(drop));
    }
    let inspection = Inspection::new(&ModelSpec::Directory(folder.into()), &HubOptions::default(), &Silent)?;
    let model = Model::open(folder, Device::Cpu);
    assert_eq!(
        model.is_ok(),
        inspection.is_usable(),
        "inspecting and opening agree: {inspection:#?} {:?}",
        model.err()
    );
    Ok(())
}

/// How the mutants of one file ended.
#[derive(Default)]
struct Tally {
    read: u64,
    refused: u64,
    panicked: Vec<u64>,
    largest: usize,
    slowest: Duration,
}

fn attack(folder: &Path, file: &str, rounds: u64) -> Tally {
    let scratch = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), scratch.path().join(entry.file_name())).unwrap();
    }
    let whole = std::fs::read(folder.join(file)).unwrap();
    let path: PathBuf = scratch.path().join(file);
    let mut tally = Tally::default();
    for round in 0..rounds {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (round + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
        std::fs::write(&path, mutant(&whole, &mut random)).unwrap();
        let start = Instant::now();
        let (outcome, piece) = largest_piece(|| catch_unwind(AssertUnwindSafe(|| read(scratch.path()))));
        match outcome {
            Ok(Ok(())) => tally.read += 1,
            Ok(Err(error)) => {
                assert!(!error.to_string().contains('\n'), "{file}, mutant {round}: one line: {error}");
                tally.refused += 1;
            }
            Err(_) => tally.panicked.push(round),
        }
        tally.largest = tally.largest.max(piece);
        tally.slowest = tally.slowest.max(start.elapsed());
    }
    tally
}

#[test]
fn damaged_checkpoints_are_read_or_refused() {
    let rounds = rounds(ROUNDS) as u64;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut tallies = BTreeMap::new();
    for (folder, file) in TARGETS {
        let tally = attack(&fixtures.join(folder), file, rounds);
        assert!(tally.read + tally.refused + tally.panicked.len() as u64 == rounds);
        tallies.insert(format!("{folder}/{file}"), tally);
    }
    let sum = |count: fn(&Tally) -> u64| tallies.values().map(count).sum::<u64>();
    let largest = tallies.values().map(|tally| tally.largest).max().unwrap_or_default();
    let slowest = tallies.values().map(|tally| tally.slowest).max().unwrap_or_default();
    println!(
        "{} mutants of {} files of checkpoints: {} read, {} refused, {} panicked; at most {} kB in one piece and {:.0} ms",
        rounds * TARGETS.len() as u64,
        TARGETS.len(),
        sum(|tally| tally.read),
        sum(|tally| tally.refused),
        sum(|tally| tally.panicked.len() as u64),
        largest / 1000,
        slowest.as_secs_f64() * 1e3,
    );
    for (name, tally) in &tallies {
        assert!(tally.panicked.is_empty(), "{name}: mutants {:?} panicked", tally.panicked);
        assert!(tally.largest <= LARGEST_PIECE, "{name}: took {} bytes in one piece", tally.largest);
        assert!(tally.refused > 0, "{name}: damage shows");
    }
}
