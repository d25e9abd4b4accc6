//! Runs the commands of the book in docs/book, offline, on the scenes of examples/images.
//!
//! A block marked `sh` is a script that must succeed. Blocks of a page run in their order, in a folder of the page's own with
//! `photo.jpg`, `photo.png` and the folder `photos`. A comment `<!-- not run: REASON -->` on the line before a block leaves it out.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::sandbox::Sandbox;

/// A block of commands, and why it is not run, if it is not.
struct Block {
    script: String,
    omitted: Option<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the book, sorted.
fn pages() -> Vec<PathBuf> {
    let (mut pages, mut folders) = (Vec::new(), vec![root().join("docs/book/src")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut before, mut lines) = (Vec::new(), "", page.lines());
    while let Some(line) = lines.next() {
        if line == "```sh" {
            let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let reason = before.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"));
            blocks.push(Block { script: script.join("\n"), omitted: reason.map(str::to_owned) });
        }
        before = line;
    }
    blocks
}

/// A folder with the photos that the book's commands name.
fn folder() -> Sandbox {
    let sandbox = Sandbox::new();
    let scene = |name: &str| std::fs::read(root().join("examples/images").join(name)).unwrap();
    for name in ["photo.jpg", "photo.png"] {
        sandbox.write(name, scene("red-winged-blackbird.png"));
    }
    for name in ["bluebird.png", "two-blackbirds.png"] {
        sandbox.write(Path::new("photos").join(name), scene(name));
    }
    sandbox
}

#[cfg(unix)]
#[test]
fn every_command_in_the_book_runs() {
    let program = Path::new(env!("CARGO_BIN_EXE_fieldmark")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", program.display());
    let (mut run, mut omitted) = (0, 0);
    for page in pages() {
        let sandbox = folder();
        for block in blocks(&std::fs::read_to_string(&page).unwrap()) {
            if let Some(reason) = block.omitted {
                assert!(reason.len() > 10, "{}: a reason for {}", page.display(), block.script);
                omitted += 1;
                continue;
            }
            let mut shell = Command::new("/bin/sh");
            shell.args(["-euc", &block.script]).env_clear().current_dir(sandbox.path("."));
            let outcome = sandbox.finish(shell.env("PATH", &path).env("HOME", sandbox.path("home")));
            assert_eq!(outcome.status, Some(0), "{}:\n{}\n{outcome:#?}", page.display(), block.script);
            run += 1;
        }
    }
    println!("{run} blocks of the book run, {omitted} left out");
    assert!(run >= MINIMUM && omitted <= MAXIMUM, "{run} run, {omitted} left out");
}

/// Blocks that run at least, and those that may be left out.
const MINIMUM: usize = 24;
const MAXIMUM: usize = 8;

#[test]
fn every_page_and_picture_of_the_book_exists() {
    let source = root().join("docs/book/src");
    let summary = std::fs::read_to_string(source.join("SUMMARY.md")).unwrap();
    for page in pages() {
        let name = page.strip_prefix(&source).unwrap().to_str().unwrap().replace('\\', "/");
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("({name})")),
            "{name} is not in SUMMARY.md"
        );
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_local = !link.is_empty() && !link.contains("://");
            assert!(!is_local || page.parent().unwrap().join(link).exists(), "{name}: {link}");
        }
    }
}
