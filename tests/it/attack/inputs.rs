//! Mutants of data sets and of lists of prompts: each is read or refused with one line, and what is read can be walked.

use fieldmark::{
    Error,
    dataset::{Dataset, Options},
    prompt::ConceptList,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{json, rounds};

const VOC: &str = "<annotation><filename>b.png</filename><object><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin>\
    <xmax>2</xmax><ymax>2</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>\
    <ymax>1</ymax></bndbox></part></object></annotation>";

const POINTS: &str = "ImageId,X,Y,Label,EstimatedYesNo,TextLabel\naa,0.5,0.25,/m/dog,yes,Dog\naa,1.0,1.0,/m/dog,no,Dog\n\
    bb,0.1,0.9,/m/pet,yes,\"Pet, small\"\n";

const MANIFEST: &str = "{\"image\": \"a.png\", \"prompt\": \"dog\", \"box\": [0, 0, 1, 1], \"against\": [\"cat\"]}\n\
    {\"image\": \"b.png\", \"prompt\": \"cat\", \"present\": false}\n";

/// A file of a data set, and where it is.
type Set = (&'static str, Vec<u8>);

fn coco() -> Value {
    json!({
        "images": [{"id": 1, "file_name": "one.jpg", "width": 4, "height": 3}, {"id": 2, "coco_url": "http://a/b/two.jpg"}],
        "categories": [{"id": 17, "name": "cat", "supercategory": "animal"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 18, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]], "bbox": [0, 0, 2, 1]},
            {"id": 6, "image_id": 1, "category_id": 17, "segmentation": {"size": [3, 4], "counts": [2, 2, 8]}},
            {"id": 7, "image_id": 2, "category_id": 17, "segmentation": {"size": [53, 1], "counts": "321V16"}},
            {"id": 8, "image_id": 2, "category_id": 18, "bbox": [3, 2, 1, 1], "area": 1.0, "iscrowd": 0},
        ],
    })
}

fn mutant(random: &mut ChaCha8Rng) -> Set {
    let text = |text: &str, random: &mut ChaCha8Rng| {
        let mut bytes = text.as_bytes().to_vec();
        (0..random.random_range(0..5)).for_each(|_| json::change_bytes(&mut bytes, random));
        bytes
    };
    match random.random_range(0..5) {
        0 | 1 => ("a.json", json::mutant(&coco(), random)),
        2 => ("Annotations/b.xml", text(VOC, random)),
        3 => ("a-annotations-point-labels.csv", text(POINTS, random)),
        _ => ("manifest.jsonl", text(MANIFEST, random)),
    }
}

fn check(error: &Error) {
    let message = error.to_string();
    assert!(!message.contains('\n') && message.len() < 5000, "{message}");
}

/// Opens a set and walks it; returns whether it could be opened.
fn walked((name, bytes): &Set) -> bool {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("Annotations")).unwrap();
    if name.ends_with("xml") {
        std::fs::create_dir_all(folder.path().join("JPEGImages")).unwrap();
    }
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let dataset = match Dataset::open(folder.path(), &Options::default()) {
        Ok(dataset) => dataset,
        Err(error) => {
            check(&error);
            return false;
        }
    };
    let pictures = dataset.pictures().unwrap().map(|picture| picture.expect("what was opened can be walked"));
    assert_eq!(pictures.count(), dataset.passes());
    true
}

#[test]
fn mutants_of_data_sets_are_read_or_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(19);
    let rounds = rounds(2000);
    let read = (0..rounds).filter(|_| walked(&mutant(&mut random))).count();
    println!("data sets: {rounds} mutants, {read} read, {} refused", rounds - read);
    assert!(read > rounds / 20 && read < rounds, "some are read and some are refused");
}

#[test]
fn mutants_of_lists_of_prompts_are_read_or_refused() {
    const LIST: &str = "# birds\nred-winged blackbird = redwing | Agelaius > bird\ncrow\n\nsparrow # small\n";
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let rounds = rounds(2000);
    let mut read = 0;
    for _ in 0..rounds {
        let mut bytes = LIST.as_bytes().to_vec();
        (0..random.random_range(0..6)).for_each(|_| json::change_bytes(&mut bytes, &mut random));
        let text = String::from_utf8_lossy(&bytes);
        match ConceptList::parse(&text) {
            Ok(_) => read += 1,
            Err(error) => check(&error),
        }
    }
    println!("lists of prompts: {rounds} mutants, {read} read, {} refused", rounds - read);
    assert!(read > 0);
}
