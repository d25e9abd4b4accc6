//! Mutants of the photos in the fixtures: each is a photo or an error that names the file, soon and within the limits.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fieldmark::photo::size_in_bytes;
use fieldmark::{Error, Photo, PhotoOptions};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::rounds;

/// Larger than any fixture, and small enough for mutants that claim more.
const PIXEL_LIMIT: u64 = 1 << 20;

/// No mutant takes this long, by far, on a busy machine without optimisation.
const LONGEST: Duration = Duration::from_secs(20);

/// Numbers that readers like to stumble over.
const NUMBERS: [u32; 12] = [0, 1, 2, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0xffff_ffff];

struct Seed {
    name: String,
    bytes: Vec<u8>,
}

fn seeds() -> Vec<Seed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/photos");
    let mut paths: Vec<PathBuf> = ["", "odd", "reports"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && Photo::open(path).is_ok())
        .collect();
    paths.sort();
    assert!(paths.len() > 100);
    let seed = |path: &PathBuf| Seed {
        name: path.file_name().unwrap().to_string_lossy().into(),
        bytes: std::fs::read(path).unwrap(),
    };
    paths.iter().map(seed).collect()
}

/// Changes bytes, numbers and lengths in one to four places.
fn mutate(bytes: &mut Vec<u8>, donor: &[u8], chance: &mut ChaCha8Rng) {
    for _ in 0..chance.random_range(1..=4) {
        if bytes.len() < 16 {
            return;
        }
        // Headers matter most.
        let reach = if chance.random_bool(0.5) { bytes.len().min(128) } else { bytes.len() };
        let at = chance.random_range(0..reach);
        match chance.random_range(0..8) {
            0 => bytes[at] ^= 1 << chance.random_range(0..8),
            1 => bytes[at] = chance.random(),
            2 | 3 => write_number(bytes, at, chance),
            4 => bytes.truncate(at.max(8)),
            5 => {
                let end = (at + chance.random_range(1..64)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let from = chance.random_range(0..donor.len());
                let end = (from + chance.random_range(1..64)).min(donor.len());
                bytes.splice(at..at, donor[from..end].iter().copied());
            }
            _ => {
                let end = (at + chance.random_range(1..64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}

fn write_number(bytes: &mut [u8], at: usize, chance: &mut ChaCha8Rng) {
    let number = *NUMBERS.choose(chance).unwrap();
    let length = *[1, 2, 4].choose(chance).unwrap();
    let number =
        if chance.random_bool(0.5) { number.to_le_bytes() } else { number.rotate_left(8).to_be_bytes() };
    for (to, from) in bytes[at..].iter_mut().zip(&number[..length]) {
        *to = *from;
    }
}

/// Makes the checksums of a PNG right, so that decoders look at what is in the chunks.
fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(covered) = bytes.get(at + 4..(at + 8).saturating_add(length)) else { return };
        let crc = !covered.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 0 { 0 } else { 0xedb8_8320 })
        });
        let Some(checksum) = bytes.get_mut(at + 8 + length..at + 12 + length) else { return };
        checksum.copy_from_slice(&crc.to_be_bytes());
        at += 12 + length;
    }
}

/// The most memory that this process has had, in MiB; 0 where the system does not say.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn mutant(seeds: &[Seed], round: u64) -> (&Seed, Vec<u8>) {
    let mut chance = ChaCha8Rng::seed_from_u64(round);
    let seed = &seeds[round as usize % seeds.len()];
    let donor = seeds.choose(&mut chance).unwrap();
    let mut bytes = seed.bytes.clone();
    mutate(&mut bytes, &donor.bytes, &mut chance);
    if seed.name.ends_with(".png") && chance.random_bool(0.7) {
        mend_checksums(&mut bytes);
    }
    (seed, bytes)
}

#[test]
fn mutated_photos_are_photos_or_errors() {
    let seeds = seeds();
    let options = PhotoOptions::default().pixel_limit(PIXEL_LIMIT);
    let rounds = rounds(6_000) as u64;
    let (mut decoded, mut slowest) = (0, (Duration::ZERO, String::new()));
    let before = peak_mebibytes();
    for round in 0..rounds {
        let (seed, bytes) = mutant(&seeds, round);
        let begin = Instant::now();
        let size = size_in_bytes("mutant", &bytes);
        match Photo::from_bytes("mutant", &bytes, &options) {
            Ok(photo) => {
                decoded += 1;
                let found = size.unwrap_or_else(|error| panic!("round {round}, {}: {error}", seed.name));
                assert!(photo.size().area() <= PIXEL_LIMIT);
                assert_eq!(photo.size().area(), found.area(), "round {round}, {}", seed.name);
            }
            Err(error) => assert!(
                !matches!(error, Error::Read { .. }) && error.to_string().starts_with("mutant: "),
                "round {round}, {}: {error}",
                seed.name
            ),
        }
        let taken = begin.elapsed();
        assert!(taken < LONGEST, "round {round}, {}: {taken:?}", seed.name);
        if taken > slowest.0 {
            slowest = (taken, format!("{} in round {round}", seed.name));
        }
    }
    let grown = peak_mebibytes() - before;
    println!(
        "photos: {rounds} mutants of {}, {decoded} decoded, slowest {:?} ({}), peak memory grew by {grown} MiB",
        seeds.len(),
        slowest.0,
        slowest.1
    );
}
