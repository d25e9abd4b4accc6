//! Every target on all of its seeds, and the formed ones on random input: they hold before anything is mutated.

use std::{path::Path, process::Command};

use arbitrary::{Arbitrary, Unstructured};
use fieldmark_fuzz::{checkpoint, data_set, photo, pickle_program::Program, resize::Case, run, text};

/// The targets whose input is bytes.
const TARGETS: [(&str, fn(&[u8])); 17] = [
    ("photo", photo::read),
    ("safetensors", checkpoint::safetensors),
    ("pytorch", checkpoint::pytorch),
    ("pickle", checkpoint::pickle),
    ("tokenizer", text::tokenizer),
    ("config", text::config),
    ("preprocessor", text::preprocessor),
    ("npy", checkpoint::npy),
    ("json", text::json),
    ("list", text::list),
    ("coco", data_set::coco),
    ("voc", data_set::voc),
    ("points", data_set::points),
    ("manifest", data_set::manifest),
    ("journal", run::journal),
    ("description", run::description),
    ("rows", run::rows),
];

#[test]
fn every_target_gets_through_its_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new("python3").arg(root.join("seeds.py")).status();
    assert!(status.expect("python3 can be started").success());
    for (name, target) in TARGETS {
        let folder = std::fs::read_dir(root.join("corpus").join(name)).expect("has seeds");
        let inputs: Vec<_> = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has seeds");
        inputs.iter().for_each(|input| target(input));
    }
}

/// Inputs of a formed target, from the generator of Numerical Recipes.
fn formed<T: for<'a> Arbitrary<'a>>(count: u32, mut check: impl FnMut(T)) {
    let mut state = 1_u32;
    for _ in 0..count {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(400)
        .collect();
        if let Ok(input) = T::arbitrary_take_rest(Unstructured::new(&bytes)) {
            check(input);
        }
    }
}

#[test]
fn programs_of_pickle_are_read_as_what_they_were_made_of() {
    formed(300, |program: Program| program.check());
}

#[test]
fn resizing_agrees_with_a_plain_loop() {
    formed(60, |case: Case| case.check());
}

#[test]
fn formed_pages_of_tiff_are_photos_or_errors() {
    formed(300, |tiff: photo::Tiff| photo::read(&tiff.bytes()));
}
