//! Data sets of every layout that is known by its files.

use fieldmark_evaluate::dataset::{Dataset, Options};

use crate::{Scratch, check_error, scratch};

/// Opens a set and walks it.
///
/// # Panics
/// If a set that was opened cannot be walked, or has other questions than it says.
fn walk(scratch: &Scratch) {
    let dataset = match Dataset::open(scratch.path(), &Options::default()) {
        Ok(dataset) => dataset,
        Err(error) => return check_error(&error),
    };
    let pictures = match dataset.pictures() {
        Ok(pictures) => pictures,
        Err(error) => return check_error(&error),
    };
    let walked = pictures.map(|picture| picture.expect("what was opened can be walked")).count();
    assert_eq!(walked, dataset.passes());
    if let Err(error) = dataset.skipped() {
        check_error(&error);
    }
    if let Err(error) = dataset.concept_list() {
        check_error(&error);
    }
}

/// COCO's annotations.
pub fn coco(bytes: &[u8]) {
    scratch::with(|scratch| {
        scratch.write("instances.json", bytes);
        walk(scratch);
    });
}

/// A file of VOC's annotations.
pub fn voc(bytes: &[u8]) {
    scratch::with(|scratch| {
        scratch.write("Annotations/b.xml", bytes);
        scratch.write("JPEGImages/b.jpg", b"");
        walk(scratch);
    });
}

/// OpenImages' table of points.
pub fn points(bytes: &[u8]) {
    scratch::with(|scratch| {
        scratch.write("a-annotations-point-labels.csv", bytes);
        walk(scratch);
    });
}

/// A manifest of one line per question.
pub fn manifest(bytes: &[u8]) {
    scratch::with(|scratch| {
        scratch.write("manifest.jsonl", bytes);
        walk(scratch);
    });
}
