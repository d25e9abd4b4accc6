//! Plain English: phrases that read as translated are kept out of code, comments, messages and documents.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is searched, from the root of the repository.
const PLACES: [&str; 13] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "benches",
    "crates",
    "docs",
    "examples",
    "prompts",
    "src",
    "tests",
    "tools",
    "xtask",
];

/// This file quotes the phrases.
const THIS_FILE: &str = "words.rs";

/// Words that stand for a better one: report, print, describe, distinguish, sets apart from.
const WORDS: [&str; 2] = ["told", "tells"];

/// Phrases, and what to write instead.
const PHRASES: [(&str, &str); 6] = [
    ("what becomes of", "how ... is handled"),
    ("what became of", "how ... was handled"),
    ("by what ", "how"),
    ("of then", "the earlier"),
    ("nothing but", "only"),
    ("is there twice", "is given twice"),
];

/// Every text in a folder that people write; generated files and data are not among them.
fn texts(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<_> =
            fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        let generated = ["snapshots", "target", "schema", "node_modules"];
        let is_written = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !generated.contains(&&*name) && !name.starts_with('.')
        };
        entries.iter().filter(|path| is_written(path)).for_each(|path| texts(path, found));
    } else {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if ["rs", "md", "html", "js", "css", "py", "toml", "yml"].contains(&&*ending) {
            found.push(path.to_owned());
        }
    }
}

/// The first phrase of a line that is to be avoided.
fn found_in(line: &str) -> Option<String> {
    let line = line.to_lowercase();
    let is_word =
        |word: &&str| line.split(|letter: char| !letter.is_alphanumeric()).any(|part| part == *word);
    if let Some(word) = WORDS.iter().find(|word| is_word(word)) {
        return Some(format!("{word:?}"));
    }
    if let Some((phrase, plain)) = PHRASES.iter().find(|(phrase, _)| contains_words(&line, phrase)) {
        return Some(format!("{phrase:?} ({plain})"));
    }
    as_it_has_it(&line).then(|| "\"as ... has it\" (as in ...)".to_owned())
}

/// Whether a phrase is in the line, beginning and ending where words do.
fn contains_words(line: &str, phrase: &str) -> bool {
    let letter_at = |text: Option<char>| text.is_some_and(char::is_alphanumeric);
    line.match_indices(phrase).any(|(start, found)| {
        let (before, after) = (&line[..start], &line[start + found.len()..]);
        let open_end = found.ends_with(char::is_alphanumeric) && letter_at(after.chars().next());
        !letter_at(before.chars().next_back()) && !open_end
    })
}

/// Whether a sentence of the line says "as in (something)" or "have it".
fn as_it_has_it(line: &str) -> bool {
    let sentences = line.split([';', ':', '(', ')']).flat_map(|part| part.split(". "));
    sentences.into_iter().any(|sentence| {
        [" has it", " have it"].iter().any(|ending| {
            sentence.find(ending).is_some_and(|end| {
                contains_words(&sentence[..end], "as") && contains_words(sentence, ending.trim_start())
            })
        })
    })
}

#[test]
fn texts_avoid_phrases_that_read_as_translated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    PLACES.iter().for_each(|place| texts(&root.join(place), &mut files));
    assert!(files.len() > 300, "only {} files were searched", files.len());
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with(THIS_FILE)) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for (number, line) in text.lines().enumerate() {
            if let Some(phrase) = found_in(line) {
                let file = file.strip_prefix(root).expect("a file of the repository");
                found.push(format!("{}:{}: {phrase}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "write it in plain English:\n{}", found.join("\n"));
}

#[test]
fn phrases_are_found_at_the_ends_of_words_alone() {
    for line in [
        "It tells what it does.",
        "as SigLIP has it",
        "What becomes of the photo",
        "they differ by what they show",
        "those of then.",
        "a name is there twice",
    ] {
        assert!(found_in(line).is_some(), "{line}");
    }
    for line in [
        "They are untold, and foretells is one word.",
        "has it been read as text?",
        "a list of thenars",
        "as in SigLIP",
        "As it is: the photo has it.",
    ] {
        assert_eq!(found_in(line), None, "{line}");
    }
}
