//! Holds the source to ARCHITECTURE.md: a module uses only those above it in `lib.rs`, the library keeps to itself,
//! and the program reaches it by its name. The source is read as words, without comments, strings and tests; that
//! is enough for `use` and for paths, as long as no file has a module of its own inside.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// One file of the source.
struct File {
    /// Its path inside `src`.
    name: String,
    /// Its module: `model/nn/block.rs` is `model`, `nn`, `block`.
    module: Vec<String>,
    /// What is in it, without tests.
    words: Vec<String>,
}

/// What `lib.rs` declares.
struct Root {
    /// The modules, in order.
    order: Vec<String>,
    /// Which module a name comes from that is exported at the root.
    exports: BTreeMap<String, String>,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The library's files, without `lib.rs` and without files that hold nothing but tests.
fn library() -> Vec<File> {
    let mut files = files_in(&repository().join("src"));
    files.retain(|file| file.name != "lib.rs" && !file.name.starts_with("bin/"));
    assert!(files.len() > 20, "the source was found");
    files
}

fn files_in(folder: &Path) -> Vec<File> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
                files.push(file(&path));
            }
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    files
}

fn file(path: &Path) -> File {
    let inside: PathBuf = path.strip_prefix(repository().join("src")).expect("it is in src").into();
    let name = inside.to_string_lossy().replace('\\', "/");
    let module = name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').map(str::to_owned);
    File { module: module.collect(), words: without_tests(&words(&read(path))), name }
}

fn root() -> Root {
    let words = words(&read(&repository().join("src/lib.rs")));
    let mut root = Root { order: Vec::new(), exports: BTreeMap::new() };
    for statement in words.split(|word| word == ";") {
        match statement.iter().position(|word| word == "mod" || word == "use") {
            Some(at) if statement[at] == "mod" => root.order.push(statement[at + 1].clone()),
            Some(at) => {
                let names = statement[at + 2..].iter().filter(|word| is_name(word));
                root.exports.extend(names.map(|name| (name.clone(), statement[at + 1].clone())));
            }
            None => {}
        }
    }
    assert!(root.order.len() > 10, "the modules were found");
    root
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits source into names, numbers and signs, `::` being one of them. Comments, strings and characters are left
/// out; a lifetime leaves its name.
fn words(source: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (skipped, kept) = match first {
            _ if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), 0),
            _ if rest.starts_with("/*") => (block_comment(rest), 0),
            _ if quoted(rest).is_some() => (quoted(rest).unwrap_or_default(), 0),
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                (0, end.unwrap_or(rest.len()))
            }
            _ if rest.starts_with("::") => (0, 2),
            _ if first.is_whitespace() || first == '\'' => (first.len_utf8(), 0),
            _ => (0, first.len_utf8()),
        };
        words.extend((kept > 0).then(|| rest[..kept].to_owned()));
        rest = &rest[skipped + kept..];
    }
    words
}

/// The length of a block comment at the start, those in it included.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a string or character at the start, if there is one.
fn quoted(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix).unwrap_or_default();
        rest.starts_with('"') || prefix.ends_with('r') && rest.trim_start_matches('#').starts_with('"')
    });
    if let Some(prefix) = prefix {
        let rest = &text[prefix.len()..];
        if !prefix.ends_with('r') {
            return Some(prefix.len() + closing(rest, '"')?);
        }
        let fence = &rest[..rest.find('"')?];
        let end = format!("\"{fence}");
        return Some(prefix.len() + fence.len() + 1 + rest[fence.len() + 1..].find(&end)? + end.len());
    }
    let mut characters = text.strip_prefix('\'')?.chars();
    let (first, second) = (characters.next()?, characters.next()?);
    (first == '\\' || second == '\'').then(|| closing(text, '\''))?
}

/// The length up to the quote that ends what the first one began.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Leaves out every item that is compiled for tests only.
fn without_tests(words: &[String]) -> Vec<String> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at..].iter().take(marker.len()).eq(marker) {
            at += marker.len() + item(&words[at + marker.len()..]);
        } else {
            kept.push(words[at].clone());
            at += 1;
        }
    }
    kept
}

/// The number of words in the item at the start: up to its semicolon or its last brace.
fn item(words: &[String]) -> usize {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate() {
        match word.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    words.len()
}

/// Every name at the crate's root that a file reaches: by `crate::` or by enough `super::`, in a `use` or in the
/// middle of an expression.
fn reached(file: &File) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(word) = file.words.get(at) {
        let begins = (word == "crate" || word == "super") && is(&file.words, at + 1, "::");
        at += if begins { follow(&file.words[at..], file.module.clone(), &mut names) } else { 1 };
    }
    names
}

fn is(words: &[String], at: usize, sign: &str) -> bool {
    words.get(at).is_some_and(|word| word == sign)
}

/// Follows a path, or the tree that it branches into, from a module; returns the number of words in it.
fn follow(words: &[String], mut from: Vec<String>, names: &mut Vec<String>) -> usize {
    for (at, word) in words.iter().enumerate() {
        match word.as_str() {
            "::" | "self" => {}
            "crate" => from.clear(),
            "super" => drop(from.pop()),
            "{" => return at + branches(&words[at..], &from, names),
            _ if is_name(word) || word == "*" => {
                names.extend(from.is_empty().then(|| word.clone()));
                return at + rest_of_path(&words[at..]);
            }
            _ => return at,
        }
    }
    words.len()
}

/// Follows what is between the braces at the start; returns the number of words, with both braces.
fn branches(words: &[String], from: &[String], names: &mut Vec<String>) -> usize {
    let mut at = 1;
    while at < words.len() && words[at] != "}" {
        at += follow(&words[at..], from.to_vec(), names);
        // What is left of a branch is the name that an `as` gives it.
        at += words[at..].iter().take_while(|word| *word != "," && *word != "}").count();
        at += usize::from(is(words, at, ","));
    }
    at + 1
}

/// The number of words in a path, with the braces that it may end in.
fn rest_of_path(words: &[String]) -> usize {
    let mut at = 1;
    while is(words, at, "::") {
        match words.get(at + 1) {
            Some(word) if word == "{" => return at + 1 + item(&words[at + 1..]),
            Some(word) if is_name(word) || word == "*" => at += 2,
            _ => break,
        }
    }
    at
}

/// What is wrong with what a file reaches.
fn trespasses(file: &File, root: &Root) -> Vec<String> {
    let place = |module: &str| root.order.iter().position(|listed| listed == module);
    let home = place(&file.module[0]);
    let wrong = |name: &String| match place(root.exports.get(name).unwrap_or(name)) {
        Some(used) if home.is_some_and(|home| used <= home) => None,
        Some(_) => Some(format!("{}: uses {name}, which lib.rs lists after it", file.name)),
        None => Some(format!("{}: uses {name}, which lib.rs does not list", file.name)),
    };
    reached(file).iter().filter_map(wrong).collect()
}

/// Whether the words have these, one after another.
fn has(words: &[String], sequence: &[&str]) -> bool {
    words.windows(sequence.len()).any(|window| window.iter().eq(sequence))
}

/// A file of module `photo::jpeg`, in a crate that lists `error`, `photo` and `render`.
fn sample(source: &str) -> (File, Root) {
    let module = ["photo", "jpeg"].map(str::to_owned).into();
    let file = File { name: "photo/jpeg.rs".into(), module, words: without_tests(&words(source)) };
    let order = ["error", "photo", "render"].map(str::to_owned).into();
    let exports = BTreeMap::from([("Error".into(), "error".into()), ("Picture".into(), "render".into())]);
    (file, Root { order, exports })
}

#[test]
fn every_way_to_a_later_module_is_seen() {
    for source in [
        "use crate::render::Canvas;",
        "use crate::{error::{Error, Result}, render::{self, Canvas}};",
        "use crate::{\n    Error,\n    photo::Photo,\n    render,\n};",
        "use super::super::render;",
        "use super::{Decoded, self}; use crate::render;",
        "use crate::error::{self as e}; fn f() { g(e, super::super::render::h()) }",
        "fn f() { crate::error::f(crate::render::g()) }",
        "fn f() -> crate::render::Canvas { crate::error::f() }",
        "fn f() { if a == super::super::render::A {} }",
        "use crate::Picture;",
        "use crate::*;",
        "use crate::unlisted::Thing;",
        "const QUOTE: char = '\"'; use crate::render; const OTHER: char = '\"';",
        "fn f<'a>(x: &'a str) {} use crate::render;",
        "/* a /* nested */ comment */ use crate::render; // \"",
        "#[cfg(test)] use crate::error; use crate::render;",
    ] {
        let (file, root) = sample(source);
        assert_eq!(trespasses(&file, &root).len(), 1, "{source}");
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    for source in [
        "use crate::{Error, error::Result, photo::{Photo, render::Own}};",
        "use super::{Decoded, render}; use super::render::Canvas;",
        "// use crate::render;\n/// [`crate::render`]\n",
        "const A: &str = \"use crate::render;\"; const B: &str = r#\"\" crate::render\"#;",
        "pub(crate) fn f() {} pub(super) struct S { a: u8 }",
        "#[cfg(test)]\nmod tests {\n    use crate::render::{a, b};\n    fn f() {}\n}",
    ] {
        let (file, root) = sample(source);
        assert_eq!(trespasses(&file, &root), [""; 0], "{source}");
    }
}

#[test]
fn modules_use_only_those_above_them() {
    let root = root();
    let wrong: Vec<String> = library().iter().flat_map(|file| trespasses(file, &root)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_library_keeps_to_itself() {
    let forbidden: [&[&str]; 13] = [
        &["print", "!"],
        &["println", "!"],
        &["eprint", "!"],
        &["eprintln", "!"],
        &["dbg", "!"],
        &["stdout", "("],
        &["stderr", "("],
        // All of `env` but `home_dir`, which finds the Hub's cache in its usual place.
        &["env", "::", "var"],
        &["env", "::", "var_os"],
        &["env", "::", "vars"],
        &["env", "::", "args"],
        &["env", ";"],
        &["process", "::"],
    ];
    for file in library() {
        for sequence in forbidden {
            assert!(!has(&file.words, sequence), "{}: has {}", file.name, sequence.concat());
        }
    }
}

/// Which parts of the source may name a crate; everything else must do without it.
const CRATES: [(&[&str], &[&str]); 17] = [
    (
        &["candle_core", "candle_nn", "candle_transformers"],
        &["error.rs", "device.rs", "model/", "embed.rs", "gradient/", "attribution/", "pipeline/"],
    ),
    (&["hf_hub", "xet", "reqwest", "tokio", "futures_util", "webpki_root_certs"], &["model/source/"]),
    (&["ring"], &["model/digest.rs"]),
    (&["safetensors"], &["model/tensor_file.rs"]),
    (&["bytemuck"], &["model/tensor_file.rs"]),
    (&["tokenizers"], &["model/cleaning.rs", "model/tokenizer/"]),
    (&["instant_clip_tokenizer"], &["model/tokenizer/"]),
    (&["htmlize"], &["model/cleaning.rs"]),
    (&["base64"], &["page/", "model/tokenizer/"]),
    (&["fancy_regex"], &["model/tokenizer/"]),
    (&["csv_core"], &["dataset/table.rs"]),
    (&["roxmltree"], &["dataset/voc.rs"]),
    (&["parquet"], &["evaluate/columns.rs", "evaluate/rows_file.rs", "evaluate/tally.rs"]),
    (&["plotters"], &["evaluate/plots.rs"]),
    (&["libjpeg_turbo_rs"], &["photo/", "page/"]),
    (&["anyhow", "clap", "clap_complete", "clap_mangen", "comfy_table"], &[]),
    (&["indicatif", "mimalloc", "terminal_size"], &[]),
];

#[test]
fn crates_stay_where_they_belong() {
    for file in library() {
        for (crates, places) in CRATES {
            let allowed = places.iter().any(|place| file.name.starts_with(place));
            let named = crates.iter().find(|name| file.words.iter().any(|word| word == *name));
            assert!(allowed || named.is_none(), "{}: uses {}", file.name, named.unwrap_or(&""));
        }
    }
}

#[test]
fn the_program_reaches_the_library_by_its_name() {
    let files = files_in(&repository().join("src/bin"));
    assert!(files.iter().any(|file| file.words.iter().any(|word| word == "fieldmark")));
    for file in files {
        let around: [&[&str]; 2] = [&["#", "[", "path"], &["include", "!"]];
        assert!(!around.iter().any(|way| has(&file.words, way)), "{}: takes in a file", file.name);
    }
}

#[test]
fn the_pages_list_every_module_in_order() {
    let order = root().order;
    let page = read(&repository().join("src/lib.rs"));
    let rows: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("//! | [`")?.split('`').next()).collect();
    assert_eq!(rows, order, "the crate page");
    let architecture = read(&repository().join("ARCHITECTURE.md"));
    let headings: Vec<_> =
        architecture.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    assert_eq!(headings, order, "ARCHITECTURE.md");
}
