//! Keeps phrases that sound translated out of the documents for users.

use std::path::PathBuf;

/// Words and phrases that plain English does without, in lower case.
const AVOIDED: [&str; 6] = ["told", "tell", "tells", "what becomes of", "by what", "of then"];

/// The folders and files that are read.
const PLACES: [&str; 7] = [
    "README.md",
    "prompts/README.md",
    "docs/evaluation",
    "docs/book/src",
    "docs/book/src/guide",
    "docs/book/src/reference",
    "docs/book/src/explanation",
];

/// The Markdown files of a place.
fn documents(place: &str) -> Vec<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(place);
    if path.is_file() {
        return vec![path];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect()
}

#[test]
fn documents_avoid_phrases_that_sound_translated() {
    let files: Vec<PathBuf> = PLACES.into_iter().flat_map(documents).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap().to_lowercase();
        let words: Vec<&str> =
            text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let text = format!(" {} ", words.join(" "));
        for phrase in AVOIDED {
            assert!(!text.contains(&format!(" {phrase} ")), "{}: {phrase}", file.display());
        }
    }
}
