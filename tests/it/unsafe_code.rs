//! `unsafe` is where ARCHITECTURE.md says it is, and nowhere else.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The folders with code of our own.
const FOLDERS: [&str; 8] = ["benches", "crates", "examples", "prompts", "src", "tests", "tools", "xtask"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files below a folder, as paths from the repository's root.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Whether a line of code, comments left aside, has the keyword.
fn uses_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "unsafe(", "allow(unsafe_code"]
        .iter()
        .any(|form| code.contains(form))
}

#[test]
fn unsafe_code_is_where_the_documents_say() {
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = architecture.split_once("## Unsafe code\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let listed: BTreeSet<&str> =
        section.lines().filter_map(|line| Some(line.strip_prefix("- `")?.split_once('`')?.0)).collect();
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| rust_files(&root().join(folder), &mut files));
    assert!(files.len() > 200, "{} files", files.len());
    let found: BTreeSet<String> = files
        .iter()
        .filter(|file| !file.ends_with("tests/it/unsafe_code.rs"))
        .filter(|file| std::fs::read_to_string(file).unwrap().lines().any(uses_unsafe))
        .map(|file| file.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}
